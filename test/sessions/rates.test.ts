/* What one user may ask for is bounded over all they connect by, and counts what it costs; who asks for little never meets it. */

import tap from "tap";

import { Rates } from "../../broker/sessions/index.ts";
import { TokenBucket, weightOf } from "../../broker/sessions/token-bucket.ts";
import type { WhalesongError } from "../../protocol/index.ts";
import { SessionBroker } from "./session-broker.ts";
import type { SessionClient } from "./session-client.ts";

const scopes = ["read", "write"] as const;
const unlimited = { perSecond: 1e9, burst: 1e9 };
/** So little comes back that nothing does while a test runs. */
const once = (burst: number) => ({ perSecond: 0.001, burst });

/** The code that a request is refused with, and that it says how long to wait; "ok" when it is not. */
async function outcome(request: Promise<unknown>): Promise<string> {
  try {
    await request;
    return "ok";
  } catch (error) {
    const { code, details, retryable } = error as WhalesongError;
    return details.retryAfterMs! > 0 && retryable ? code : `${code} without a word how long`;
  }
}

const post = (client: SessionClient, fields: object) => outcome(client.request("post", { ...fields }));

await tap.test("a bucket lets in what there is, and what costs more once nothing is missing", async (t) => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 100 }, 0);
  t.equal(bucket.take(0, 60), 0);
  t.equal(bucket.take(0, 60), 2_000, "20 are missing");
  t.equal(bucket.take(2_000, 60), 0);
  t.equal(bucket.take(2_000, 500), 10_000, "more than there can be waits until it is full");
  t.equal(bucket.take(12_000, 500), 0);
  t.equal(bucket.take(12_000), 40_100, "and is made up for: 400 are missing, and one");
  bucket.spend(12_000, 100);
  t.equal(bucket.waitMs(12_000), 50_100);
  t.notOk(bucket.isFull(71_999));
  t.ok(bucket.isFull(72_000));
  t.same([0, 8_191, 8_192, 65_536].map(weightOf), [1, 1, 2, 9]);
});

await tap.test(
  "commands, bytes and reads of a user are counted apart, in any spelling of the name",
  async (t) => {
    let now = 0;
    const rates = new Rates(
      { commands: once(3), bytes: { perSecond: 100, burst: 1_000 }, reads: once(50) },
      () => now,
    );
    rates.take("alice", 900);
    t.throws(() => rates.take("ALICE", 200), { code: "rate_limited", details: { retryAfterMs: 1_000 } });
    now = 1_000;
    rates.take("alice", 200);
    t.throws(() => rates.take("alice"), { code: "rate_limited", message: /commands/ });
    rates.admit("Alice");
    t.equal(rates.spend("alice", 40), 0);
    rates.admit("alice");
    t.ok(rates.spend("alice", 40) > 0);
    t.throws(() => rates.admit("alice"), { code: "rate_limited" });
    rates.take("bob", 900);
    rates.admit("bob");
  },
);

await tap.test(
  "posts are held to a rate of bytes: text, data, mentions, tags and key, on any connection",
  async (t) => {
    const broker = await SessionBroker.for(t, { scopes, userRates: { bytes: once(1_000) } });
    const [one, other] = [await broker.connect("alice"), await broker.connect("alice")];
    const bob = await broker.connect("bob");
    t.equal(await post(one, { text: "é".repeat(200) }), "ok"); // 400
    t.equal(await post(other, { text: "", data: { a: "x".repeat(191) } }), "ok"); // 199
    t.equal(
      await post(one, { text: "", mentions: ["m".repeat(50), "n".repeat(50)], tags: ["t".repeat(100)] }),
      "ok",
    ); // 200
    t.equal(await post(other, { text: "x".repeat(110), key: "k".repeat(64) }), "ok"); // 174
    t.equal(await post(one, { text: "@someone #sometag and more" }), "rate_limited"); // 26 + 7 + 7; 27 are left
    t.equal(await post(other, { text: "x".repeat(27) }), "ok");
    t.equal(await post(other, { text: "x" }), "rate_limited");
    t.equal(await outcome(one.request("follow", { user: "bob" })), "ok", "other commands bring no bytes");
    t.equal(await post(bob, { text: "x".repeat(900) }), "ok");
  },
);

await tap.test("users that a post makes by mentioning them count as commands", async (t) => {
  const broker = await SessionBroker.for(t, { scopes, userRates: { commands: once(20) } });
  const [alice, bob] = [await broker.connect("alice"), await broker.connect("bob")];
  t.equal(await post(alice, { text: "@one @two @three" }), "ok"); // 4
  t.equal(await post(alice, { text: "", mentions: ["four", "five"] }), "ok"); // 3
  t.equal(await post(alice, { text: "@One @TWO @three @four @five @alice" }), "ok"); // 1: they are users now
  t.equal(await post(alice, { text: "@a1 @a2 @a3 @a4 @a5 @a6 @a7 @a8 @a9 @a10 @a11 @a12" }), "rate_limited"); // 13; 12 are left
  for (let i = 0; i < 12; i++) t.equal(await post(alice, { text: "@one" }), "ok");
  t.equal(await post(alice, { text: "@one" }), "rate_limited");
  const many = Array.from({ length: 50 }, (_, i) => `many${i}`);
  t.equal(
    await post(bob, { text: "", mentions: many }),
    "ok",
    "more than there can be, when none is missing",
  );
  t.equal(await post(bob, { text: "" }), "rate_limited");
});

await tap.test("what a user reads is charged for what it looked at, over all connections", async (t) => {
  const broker = await SessionBroker.for(t, { scopes, userRates: { reads: once(2_000) } });
  const author = await broker.connect("author");
  await Promise.all(Array.from({ length: 400 }, () => author.request("post", { text: "hello @alice @bob" })));
  const [one, other] = [await broker.connect("alice"), await broker.connect("alice")];
  const bob = await broker.connect("bob");
  const cheap = (client: SessionClient) => outcome(client.request("read", { stream: "mentions", limit: 1 }));
  // All 400 are looked at, and not one is shown.
  const costly = (client: SessionClient) =>
    outcome(client.request("read", { stream: "mentions", filter: { from: "mutuals" } }));
  for (let i = 0; i < 20; i++) t.equal(await cheap(bob), "ok");
  let answered = 0;
  while (answered < 20 && (await costly(answered % 2 === 0 ? one : other)) === "ok") answered++;
  t.ok(answered >= 2 && answered <= 6, `${answered} pages that looked at 400 each`);
  for (const client of [one, other]) {
    t.equal(await cheap(client), "rate_limited");
    for (const [op, fields] of Object.entries({
      get: { post: "nothing" },
      following: {},
      followers: {},
      relationship: { user: "bob" },
      cursor: { stream: "home" },
      subscribe: { stream: "mentions" },
    }))
      t.equal(await outcome(client.request(op, fields)), "rate_limited", op);
  }
  t.equal(await outcome(one.request("ping")), "ok");
  t.equal(await outcome(one.request("post", { text: "writing is counted apart" })), "ok");
  t.equal(await cheap(bob), "ok", "another's reads are their own");
  t.equal(await costly(bob), "ok");
});

await tap.test("to subscribe to a home counts what its reader follows", async (t) => {
  const broker = await SessionBroker.for(t, { scopes, userRates: { reads: once(300) } });
  const alice = await broker.connect("alice");
  await Promise.all(Array.from({ length: 800 }, (_, i) => alice.request("follow", { user: `u${i}` })));
  t.equal(await outcome(alice.subscribe("mentions")), "ok");
  t.equal(await outcome(alice.subscribe("home")), "ok"); // 10 + 200
  t.equal(await outcome(alice.subscribe("tag:one")), "ok");
  t.equal(await outcome(alice.subscribe("home", { filter: { replies: "none" } })), "ok"); // the last: it costs more than is left
  t.equal(await outcome(alice.subscribe("tag:other")), "rate_limited");
});

await tap.test(
  "the scope backend is not limited, and is told no rates; who is limited is told them",
  async (t) => {
    const none = once(1);
    const userRates = { commands: none, bytes: none, reads: none };
    const broker = await SessionBroker.for(t, { scopes: [...scopes, "backend"], userRates });
    const backend = await broker.connect("backend");
    for (let i = 0; i < 5; i++) {
      t.equal(await outcome(backend.request("post", { text: "a post", as: "alice" })), "ok");
      t.equal(await outcome(backend.request("read", { stream: "home", as: "alice" })), "ok");
    }
    t.notMatch(await backend.request("hello"), { limits: { userBytes: Number } });
    const rates = { userRate: 7, userBytes: 32_768 };
    const limited = await SessionBroker.for(t, { scopes, rates });
    t.match(await (await limited.connect("alice")).request("hello"), {
      limits: { ...rates, frameBytes: 65_536 },
    });
  },
);

await tap.test("a large frame counts as several requests, also when it is refused", async (t) => {
  const broker = await SessionBroker.for(t, {
    scopes,
    connectionRate: once(15),
    userRates: { commands: unlimited },
  });
  const alice = await broker.connect("alice"); // the hello is one
  t.equal(await outcome(alice.request("nonsense", { pad: "x".repeat(60_000) }).catch(() => {})), "ok"); // 8, and 4 for what is no request
  t.equal(await outcome(alice.request("ping")), "ok");
  t.equal(await outcome(alice.request("ping")), "ok");
  t.equal(await outcome(alice.request("ping")), "rate_limited");
});
