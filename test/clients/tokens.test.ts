import tap from "tap";

import { TokenRenewal } from "../../clients/core/tokens.ts";
import { nodePlatform } from "../../clients/node/platform.ts";
import { startSession } from "./session.ts";

/** A clock that moves when the test fires its one timer. */
class Clock {
  nowMs = 1_790_000_000_000;
  nextMs: number | undefined;
  #run: (() => void) | undefined;
  readonly platform = {
    ...nodePlatform,
    now: () => this.nowMs,
    setTimer: (run: () => void, ms: number) => {
      this.#run = run;
      this.nextMs = ms;
      return () => {
        this.nextMs = undefined;
      };
    },
  };

  /** Runs the timer, and what its promises lead to. */
  async fire(): Promise<void> {
    this.nowMs += this.nextMs ?? 0;
    this.nextMs = undefined;
    this.#run?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

await tap.test("a session's token is renewed in place by getToken, before it expires", async (t) => {
  let asked = 0;
  const { peer } = await startSession(
    t,
    { getToken: async () => `t${++asked}` },
    { expiresAt: Date.now() + 1_050 },
  );
  const renewal = await peer.expect("auth");
  t.equal(renewal["token"], "t2");
  peer.ok(renewal, { scopes: ["read"], expiresAt: Date.now() + 3_600_000 });
});

await tap.test("auth() gives a token to this session and to the next", async (t) => {
  const { me, peer, broker } = await startSession(t, { token: "t1" });
  const renewed = me.auth("t2");
  peer.ok(await peer.expect("auth"), { scopes: ["read"] });
  t.same(await renewed, { scopes: ["read"] });
  peer.ws.terminate();
  t.equal((await (await broker.peer()).welcome())["token"], "t2");
});

await tap.test("renewal comes a tenth of the token's life before its end, 30 s at most", async (t) => {
  const clock = new Clock();
  const renewal = new TokenRenewal(
    clock.platform,
    async () => ({}),
    (error) => t.fail(error),
  );
  renewal.watch(clock.nowMs + 100_000);
  t.equal(clock.nextMs, 90_000);
  renewal.watch(clock.nowMs + 3_600_000);
  t.equal(clock.nextMs, 3_570_000);
  renewal.watch(clock.nowMs - 5);
  t.equal(clock.nextMs, 1_000, "one that has expired is not asked for in a tight loop");
  renewal.watch(undefined);
  t.equal(clock.nextMs, undefined);
  const month = 30 * 24 * 3_600_000;
  renewal.watch(clock.nowMs + month);
  t.equal(clock.nextMs, 2_000_000_000, "longer than one timer can run");
  await clock.fire();
  t.equal(clock.nextMs, month - 30_000 - 2_000_000_000);
});

await tap.test("a renewal that fails is reported, and tried again while the token lasts", async (t) => {
  const clock = new Clock();
  const errors: Error[] = [];
  const answers: (() => { expiresAt?: number })[] = [
    () => {
      throw new Error("the issuer is away");
    },
    () => ({ expiresAt: clock.nowMs + 100_000 }),
  ];
  const renewal = new TokenRenewal(
    clock.platform,
    async () => answers.shift()?.() ?? {},
    (error) => errors.push(error),
  );
  renewal.watch(clock.nowMs + 100_000);
  await clock.fire();
  t.match(errors, [{ message: "the issuer is away" }]);
  t.equal(clock.nextMs, 2_500, "a quarter of what is left");
  await clock.fire();
  t.equal(clock.nextMs, 90_000);
  renewal.stop();
  t.equal(clock.nextMs, undefined);
});
