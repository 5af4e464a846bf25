/* The broker's rates, as a user of the SDK meets them: not at all, within stated bounds. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { SignJWT } from "jose";
import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import type { BrokerOptions } from "../../broker/options.ts";
import type { Platform } from "../../clients/core/platform.ts";
import { Requests } from "../../clients/core/requests.ts";
import { nodePlatform } from "../../clients/node/platform.ts";
import { type Client, connect, type ConnectOptions, WhalesongError } from "../../clients/node/index.ts";
import { workers } from "../workers/count.ts";
import type { Asked, Peer } from "./scripted-broker.ts";
import { nextEvent, quick, startSession } from "./session.ts";

/** A clock that the test moves; timers fire in their order. */
class Clock {
  #nowMs = 5_000;
  readonly #timers = new Set<{ atMs: number; run: () => void }>();
  readonly platform: Platform = {
    ...nodePlatform,
    now: () => this.#nowMs,
    setTimer: (run, ms) => {
      const timer = { atMs: this.#nowMs + ms, run };
      this.#timers.add(timer);
      return () => this.#timers.delete(timer);
    },
  };

  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#timers].sort((a, b) => a.atMs - b.atMs);
      if (next === undefined || next.atMs > untilMs) break;
      this.#nowMs = next.atMs;
      this.#timers.delete(next);
      next.run();
    }
    this.#nowMs = untilMs;
  }
}

const authSecret = "a secret for tests, of 32 bytes and more";

for (const codec of ["msgpack", "json"] as const) {
  await tap.test(`${codec}: 1,500 follows at once, past the user's rate, all succeed`, async (t) => {
    const { meet } = await start(t, { userRate: 400, userBurst: 500 });
    const alice = await meet("alice", { codec });
    const users = Array.from({ length: 1_500 }, (_, i) => `user${i}`);
    const results = await Promise.all(users.map((user) => alice.follow(user)));
    t.ok(results.every(({ state }) => state === "following"));
    const { users: last } = await alice.following("alice", { limit: 1_000 });
    t.equal(last.length, 1_000);
  });
}

await tap.test("posts keep their order past the user's rate and burst", async (t) => {
  const { meet } = await start(t, { userRate: 400, userBurst: 300 });
  const alice = await meet("alice");
  const stream = alice.stream("user:alice", { from: "live" });
  await stream.opened;
  const count = 1_000;
  const posted = Promise.all(Array.from({ length: count }, (_, i) => alice.post(`${i}`)));
  const got: string[] = [];
  while (got.length < count) {
    const event = await nextEvent(stream);
    if (event.event === "post") got.push(event.post.text);
  }
  t.strictSame(
    got,
    Array.from({ length: count }, (_, i) => `${i}`),
  );
  await posted;
});

await tap.test("the rate of a connection: more reads, posts and streams than it lets through", async (t) => {
  const { meet } = await start(t, { connectionRate: 300, connectionBurst: 20 });
  const alice = await meet("alice");
  const streams = Array.from({ length: 40 }, (_, i) => alice.stream(`tag:t${i}`, { from: "live" }));
  const reads = Promise.all(Array.from({ length: 200 }, () => alice.ping()));
  const posts = Promise.all(Array.from({ length: 50 }, (_, i) => alice.post(`#t39 ${i}`)));
  await Promise.all(streams.map(({ opened }) => opened));
  t.ok((await reads).every(({ at }) => at > 0));
  t.equal(new Set((await posts).map(({ id }) => id)).size, 50);
  for (const stream of streams) stream.close();
  const again = alice.stream("tag:t39", { from: "live" });
  await again.opened;
  await alice.post("#t39 the last");
  let event = await nextEvent(again);
  while (event.event !== "post") event = await nextEvent(again);
  t.equal(
    event.post.text,
    "#t39 the last",
    "numbers of streams that were given up are free, and theirs alone",
  );
});

await tap.test(
  "a burst past a connection's rate by far ends neither the session nor a request",
  async (t) => {
    const { meet } = await start(t, { connectionRate: 2_000, connectionBurst: 5 });
    const alice = await meet("alice");
    const results = await Promise.all(Array.from({ length: 1_500 }, () => alice.ping()));
    t.equal(results.length, 1_500);
  },
);

await tap.test("what is held back goes on in the order asked, under its old id and key", async (t) => {
  const { me, peer } = await startSession(t, { random: () => 0 }, windowOf(2));
  const posted = Promise.all(["a", "b", "c", "d"].map((text) => me.post(text)));
  const [a, b] = [await peer.expect("post"), await peer.expect("post")];
  peer.refuse(a, "rate_limited", true, { retryAfterMs: 1 });
  peer.refuse(b, "rate_limited", true, { retryAfterMs: 1 });
  t.same(await peer.expect("post"), a);
  await peer.settled();
  t.same(peer.left, [], "one is tried alone");
  accept(peer, a);
  t.same(await peer.expect("post"), b);
  accept(peer, b);
  for (const text of ["c", "d"]) {
    const asked = await peer.expect("post");
    t.equal(asked["text"], text);
    accept(peer, asked);
  }
  t.equal((await posted).length, 4);
});

await tap.test("reading goes on while commands are held back", async (t) => {
  const { me, peer } = await startSession(t);
  const followed = me.follow("bob");
  const refused = await peer.expect("follow");
  peer.refuse(refused, "rate_limited", true, { retryAfterMs: 60_000 });
  await peer.settled();
  const behind = me.post("behind");
  const pinged = me.ping();
  peer.ok(await peer.expect("ping"), { at: 1 });
  await pinged;
  t.same(peer.left, []);
  const ended = Promise.all([t.rejects(followed, { code: "closed" }), t.rejects(behind, { code: "closed" })]);
  await me.close();
  await ended;
});

await tap.test("an AbortSignal ends the wait", async (t) => {
  const stop = new AbortController();
  const { me, peer } = await startSession(t, { signal: stop.signal });
  const followed = t.rejects(me.follow("bob"), { code: "closed", cause: { message: "enough" } });
  peer.refuse(await peer.expect("follow"), "rate_limited", true, { retryAfterMs: 60_000 });
  await peer.settled();
  stop.abort(new Error("enough"));
  await followed;
});

await tap.test("past the bound of time the caller gets the broker's error", async (t) => {
  const { me, peer } = await startSession(t, { rateLimit: { maxWaitMs: 1_000 } });
  const refused = t.rejects(me.follow("bob"), {
    name: "WhalesongError",
    code: "rate_limited",
    retryable: true,
    message: "scripted rate_limited",
    details: { retryAfterMs: 1_001 },
  });
  peer.refuse(await peer.expect("follow"), "rate_limited", true, { retryAfterMs: 1_001 });
  await refused;
});

await tap.test("past the bound of number, too; and without the wait at once", async (t) => {
  const { me, peer } = await startSession(t, { rateLimit: { maxRefusals: 3 }, random: () => 0 });
  const refused = t.rejects(me.follow("bob"), { code: "rate_limited" });
  for (let i = 0; i <= 3; i++) {
    peer.refuse(await peer.expect("follow"), "rate_limited", true, { retryAfterMs: 1 });
  }
  await refused;
  const never = await startSession(t, { rateLimit: false });
  const atOnce = t.rejects(never.me.follow("bob"), { code: "rate_limited" });
  never.peer.refuse(await never.peer.expect("follow"), "rate_limited", true, { retryAfterMs: 1 });
  await atOnce;
  await t.rejects(connect("ws://127.0.0.1:1", { rateLimit: { maxWaitMs: -1 } }), {
    code: "bad_request",
    details: { field: "rateLimit.maxWaitMs" },
  });
});

await tap.test("the wait for the rate is not time without an answer; its own bound ends it", async (t) => {
  const clock = new Clock();
  const requests = new Requests(clock.platform, {
    codec: "json",
    requestTimeoutMs: 20,
    rateLimit: { maxWaitMs: 150, maxRefusals: 9 },
    random: () => 0,
  });
  const sent: number[] = [];
  const settled: string[] = [];
  requests.sessionReady((frame) => sent.push((JSON.parse(frame as string) as { id: number }).id), {
    inFlight: 1,
  });
  for (const name of ["first", "second", "third"]) {
    requests.add({
      op: "post",
      fields: { text: name },
      resend: true,
      resolve: () => settled.push(`${name}: ok`),
      reject: (error) => settled.push(`${name}: ${error.message}`),
    });
  }
  requests.answer(1, undefined, limited(140));
  clock.advance(139);
  t.same([sent, settled], [[1], []], "none is sent before the time, and none times out");
  clock.advance(1);
  t.same(sent, [1, 1]);
  requests.answer(1, {}, undefined);
  t.same([sent, settled], [[1, 1, 2], ["first: ok"]]);
  requests.answer(2, undefined, limited(11));
  t.same(settled.slice(1), ["second: too fast"], "it would wait for more than 150 ms in all");
  clock.advance(9);
  t.equal(settled.length, 2);
  clock.advance(30);
  t.match(settled[2], /^third: post: (not sent, .* rateLimit\.maxWaitMs|no answer)/);
  t.equal(requests.size, 0);
});

await tap.test("a lost session keeps what was held back, and its order", async (t) => {
  const { me, peer, broker } = await startSession(t, { random: () => 0 }, windowOf(2));
  const posted = Promise.all(["a", "b", "c"].map((text) => me.post(text)));
  const [a] = [await peer.expect("post"), await peer.expect("post")];
  peer.refuse(a, "rate_limited", true, { retryAfterMs: 1 });
  await peer.settled();
  peer.ws.terminate();
  const next = await broker.peer();
  await next.welcome(windowOf(2));
  for (const text of ["a", "b", "c"]) {
    const asked = await next.expect("post");
    t.equal(asked["text"], text);
    accept(next, asked);
  }
  await posted;
});

function limited(retryAfterMs: number): WhalesongError {
  return new WhalesongError("rate_limited", "too fast", { retryAfterMs });
}

function windowOf(inFlight: number): object {
  return { limits: { frameBytes: 65_536, inFlight } };
}

function accept(peer: Peer, asked: Asked): void {
  peer.ok(asked, { id: String(asked.id), cursor: `e1-${asked.id}` });
}

async function start(
  t: Test,
  given: Partial<BrokerOptions>,
): Promise<{ meet: (user: string, options?: ConnectOptions) => Promise<Client> }> {
  const data = await mkdtemp(join(tmpdir(), "whalesong-rate-"));
  const options: Partial<BrokerOptions> = { logLevel: "error", drainMs: 20, workers, authSecret, ...given };
  const broker = await Broker.start({ port: 0, data, ...options });
  const clients: Client[] = [];
  t.teardown(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await broker.stop();
    await rm(data, { recursive: true, force: true });
  });
  return {
    meet: async (user, more = {}) => {
      const token = await new SignJWT({ scope: "read write" })
        .setProtectedHeader({ alg: "HS256" })
        .setSubject(user)
        .setExpirationTime("1h")
        .sign(new TextEncoder().encode(authSecret));
      const client = await connect(broker.url, { token, reconnect: quick, ...more });
      clients.push(client);
      return client;
    },
  };
}
