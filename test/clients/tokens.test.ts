import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { SignJWT } from "jose";
import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import { connectOn } from "../../clients/core/client.ts";
import type { Platform } from "../../clients/core/platform.ts";
import { type TokenLife, TokenRenewal } from "../../clients/core/tokens.ts";
import { connect } from "../../clients/node/index.ts";
import { nodePlatform } from "../../clients/node/platform.ts";
import { workers } from "../workers/count.ts";
import { startBroker, startSession } from "./session.ts";

/** A clock that moves when the test fires its one timer. */
class Clock {
  nowMs = 5_000;
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

const brokerMs = 1_790_000_000_000;

/** Timers of a minute and more stand still until the test fires them. */
function standing(): { platform: Platform; timer: () => { ms: number; run: () => void } | undefined } {
  let last: { ms: number; run: () => void } | undefined;
  const setTimer: Platform["setTimer"] = (run, ms) => {
    if (ms < 60_000) return nodePlatform.setTimer(run, ms);
    const timer = { ms: Math.round(ms / 100) * 100, run };
    last = timer;
    return () => {
      if (last === timer) last = undefined;
    };
  };
  return { platform: { ...nodePlatform, setTimer }, timer: () => last };
}

/** This process's time of day, as one who set it wrongly sees it. */
function setClock(t: Test, nowMs: number): void {
  const before = Date.now;
  const startMs = performance.now();
  Date.now = () => nowMs + Math.round(performance.now() - startMs);
  t.teardown(() => (Date.now = before));
}

for (const [what, offMs] of [
  ["right", 0],
  ["an hour ahead", 3_600_000],
  ["an hour behind", -3_600_000],
] as const) {
  await tap.test(
    `a session's token is renewed in place before it expires; the device's clock is ${what}`,
    async (t) => {
      setClock(t, brokerMs + offMs);
      const { platform, timer } = standing();
      const broker = await startBroker(t);
      let asked = 0;
      const options = { getToken: async () => `t${++asked}`, heartbeatMs: 0 };
      const connecting = connectOn(platform, broker.url, options);
      const peer = await broker.peer();
      await peer.welcome({ expiresAt: brokerMs + 600_000, at: brokerMs });
      const me = await connecting;
      t.teardown(() => me.close());
      t.equal(timer()?.ms, 570_000);
      setClock(t, brokerMs + offMs + 86_400_000);
      timer()?.run();
      const renewal = await peer.expect("auth");
      t.equal(renewal["token"], "t2");
      peer.ok(renewal, { scopes: ["read"], expiresAt: brokerMs + 1_200_000, at: brokerMs + 600_000 });
      await peer.settled();
      t.equal(timer()?.ms, 570_000, "a clock that jumps in between changes nothing");
      t.equal(asked, 2);
    },
  );
}

await tap.test("a broker that does not tell its time is asked for it", async (t) => {
  setClock(t, brokerMs + 3_600_000);
  const { platform, timer } = standing();
  const broker = await startBroker(t);
  const connecting = connectOn(platform, broker.url, { getToken: () => "t", heartbeatMs: 0 });
  const peer = await broker.peer();
  await peer.welcome({ expiresAt: brokerMs + 600_000 });
  const me = await connecting;
  t.teardown(() => me.close());
  peer.ok(await peer.expect("ping"), { at: brokerMs });
  await peer.settled();
  t.equal(timer()?.ms, 570_000);
});

await tap.test("whatever the times are, getToken is asked once in five seconds at most", async (t) => {
  const clock = new Clock();
  let renewals = 0;
  for (const life of [
    { expiresAt: brokerMs - 3_600_000, at: brokerMs },
    { expiresAt: brokerMs, at: brokerMs },
    { expiresAt: 0, at: Number.MAX_SAFE_INTEGER },
    { expiresAt: brokerMs + 600_000, at: brokerMs + 86_400_000 },
  ]) {
    const renewal = new TokenRenewal({
      platform: clock.platform,
      renew: async () => {
        renewals++;
        return life;
      },
      askTime: async () => ({ at: brokerMs }),
      onError: (error) => t.fail(error.message),
    });
    renewal.watch(life);
    for (let i = 0; i < 5; i++) {
      t.ok(clock.nextMs! >= 5_000);
      await clock.fire();
    }
    renewal.stop();
  }
  t.equal(renewals, 20);
});

await tap.test("the broker tells its time with each token it takes", async (t) => {
  const data = await mkdtemp(join(tmpdir(), "whalesong-tokens-"));
  const authSecret = "a secret for tests, of 32 bytes and more";
  const broker = await Broker.start({ port: 0, data, logLevel: "error", drainMs: 20, workers, authSecret });
  t.teardown(async () => {
    await broker.stop();
    await rm(data, { recursive: true, force: true });
  });
  const token = await new SignJWT({ scope: "read" })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject("alice")
    .setExpirationTime("10m")
    .sign(new TextEncoder().encode(authSecret));
  const me = await connect(broker.url, { token });
  t.teardown(() => me.close());
  const { expiresAt, at } = await me.auth(token);
  t.ok(expiresAt! - at > 500_000 && expiresAt! - at <= 600_000);
  t.ok((await me.ping()).at >= at);
});

await tap.test("auth() gives a token to this session and to the next", async (t) => {
  const { me, peer, broker } = await startSession(t, { token: "t1" });
  const renewed = me.auth("t2");
  peer.ok(await peer.expect("auth"), { scopes: ["read"] });
  t.same(await renewed, { scopes: ["read"] });
  peer.ws.terminate();
  t.equal((await (await broker.peer()).welcome())["token"], "t2");
});

function lasting(ms: number): TokenLife {
  return { expiresAt: brokerMs + ms, at: brokerMs };
}

await tap.test("renewal comes a tenth of the token's life before its end, 30 s at most", async (t) => {
  const clock = new Clock();
  const renewal = new TokenRenewal({
    platform: clock.platform,
    renew: async () => ({}),
    askTime: async () => ({ at: brokerMs }),
    onError: (error) => t.fail(error),
  });
  renewal.watch(lasting(100_000));
  t.equal(clock.nextMs, 90_000);
  renewal.watch(lasting(3_600_000));
  t.equal(clock.nextMs, 3_570_000);
  renewal.watch(lasting(-5));
  t.equal(clock.nextMs, 5_000, "one that has expired is not asked for in a tight loop");
  renewal.watch({ at: brokerMs });
  t.equal(clock.nextMs, undefined);
  const month = 30 * 24 * 3_600_000;
  renewal.watch(lasting(month));
  t.equal(clock.nextMs, 2_000_000_000, "longer than one timer can run");
  await clock.fire();
  t.equal(clock.nextMs, month - 30_000 - 2_000_000_000);
});

await tap.test("a renewal that fails is reported, and tried again while the token lasts", async (t) => {
  const clock = new Clock();
  const errors: Error[] = [];
  const answers: (() => TokenLife)[] = [
    () => {
      throw new Error("the issuer is away");
    },
    () => lasting(100_000),
  ];
  const renewal = new TokenRenewal({
    platform: clock.platform,
    renew: async () => answers.shift()?.() ?? {},
    askTime: async () => ({ at: brokerMs }),
    onError: (error) => errors.push(error),
  });
  renewal.watch(lasting(1_000_000));
  await clock.fire();
  t.match(errors, [{ message: "the issuer is away" }]);
  t.equal(clock.nextMs, 7_500, "a quarter of what is left");
  await clock.fire();
  t.equal(clock.nextMs, 90_000);
  renewal.stop();
  t.equal(clock.nextMs, undefined);
});
