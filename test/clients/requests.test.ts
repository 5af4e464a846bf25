import tap from "tap";

import { clientLimits } from "../../clients/node/index.ts";
import { nextEvent, startSession } from "./session.ts";
import { post } from "./scripted-broker.ts";

await tap.test("each method is its operation, with its fields", async (t) => {
  const { me, peer } = await startSession(t);
  const calls: [string, Promise<unknown>, object][] = [
    [
      "post",
      me.post("hi", { replyTo: "p1", tags: ["a"], key: "k" }),
      { text: "hi", replyTo: "p1", tags: ["a"], key: "k" },
    ],
    ["repost", me.repost("p1", { as: "bob" }), { post: "p1", as: "bob" }],
    ["delete", me.delete("p1"), { post: "p1" }],
    ["follow", me.follow("bob"), { user: "bob" }],
    ["unfollow", me.unfollow("bob"), { user: "bob" }],
    ["following", me.following(), {}],
    ["followers", me.followers("bob", { limit: 5, after: "x" }), { user: "bob", limit: 5, after: "x" }],
    ["relationship", me.relationship("bob"), { user: "bob" }],
    ["read", me.read("home", { before: "e1-5", limit: 2 }), { stream: "home", before: "e1-5", limit: 2 }],
    ["cursor", me.cursor("home", { set: "live" }), { stream: "home", set: "live" }],
    ["ping", me.ping(), {}],
    ["auth", me.auth("t2"), { token: "t2" }],
    ["get", me.request("get", { post: "p1" }), { post: "p1" }],
  ];
  for (const [op, result, fields] of calls) {
    const asked = await peer.expect(op);
    t.same(asked, { id: asked.id, op, ...fields });
    peer.ok(asked, { answered: op });
    t.same(await result, { answered: op });
  }
  const got = me.get("p1");
  peer.ok(await peer.expect("get"), { post: post(1).post });
  t.same(await got, post(1).post);
});

await tap.test("a post without a key gets one of its own, for its retries", async (t) => {
  const { me, peer } = await startSession(t);
  const posts = [me.post("a"), me.post("a"), me.request("post", { text: "a" })];
  const keys = new Set<unknown>();
  for (const one of posts) {
    const asked = await peer.expect("post");
    t.match(asked["key"], /^[\da-z]{8}-[\da-z-]{8,55}$/, "the time, and what tells it from all others");
    keys.add(asked["key"]);
    peer.ok(asked, { id: "p", cursor: "e1-1" });
    await one;
  }
  t.equal(keys.size, 3);
});

await tap.test("an answered error is a WhalesongError with its code and details", async (t) => {
  const { me, peer } = await startSession(t);
  const refused = t.rejects(me.post("hi"), {
    name: "WhalesongError",
    code: "bad_request",
    retryable: false,
    message: "scripted bad_request",
    details: { field: "text" },
  });
  peer.refuse(await peer.expect("post"), "bad_request", false, { field: "text" });
  await refused;
});

await tap.test("operations of the session are not for request()", async (t) => {
  const { me } = await startSession(t);
  for (const op of ["hello", "subscribe", "unsubscribe", "ack"] as never[]) {
    await t.rejects(me.request(op, {}), { code: "bad_request" });
  }
});

for (const codec of ["msgpack", "json"] as const) {
  await tap.test(`${codec}: data travels as JSON would carry it, and as it was when asked`, async (t) => {
    const { me, peer } = await startSession(t, { codec });
    const data = { kept: [1.5, "é", null, { deep: true }], left: undefined, at: new Date(0) };
    const posted = me.post("hi", { data });
    data.kept.push("too late");
    const asked = await peer.expect("post");
    t.same(asked["data"], { kept: [1.5, "é", null, { deep: true }], at: "1970-01-01T00:00:00.000Z" });
    peer.ok(asked, { id: "p1", cursor: "e1-1" });
    await posted;
    const loop: { self?: unknown } = {};
    loop.self = loop;
    await t.rejects(me.post("hi", { data: loop }), TypeError);
    await t.rejects(me.post("hi", { data: 1n }), TypeError);
  });

  await tap.test(
    `${codec}: a frame over the broker's limit is refused here, and the session lives on`,
    async (t) => {
      const { me, peer } = await startSession(t, { codec });
      await t.rejects(me.post("x".repeat(65_536)), { code: "too_large" });
      await t.rejects(me.post("é".repeat(32_768)), { code: "too_large" });
      const posted = me.post("x".repeat(60_000));
      peer.ok(await peer.expect("post"), { id: "p1", cursor: "e1-1" });
      await posted;
    },
  );
}

await tap.test(
  "no more requests are sent than the session lets be unanswered; the others follow in order",
  async (t) => {
    const limits = { frameBytes: 65_536, inFlight: 10 };
    const { me, peer } = await startSession(t, {}, { limits });
    const all = Array.from({ length: 25 }, (_, i) => me.post(`post ${i}`));
    await peer.settled();
    t.equal(peer.left.length, 10);
    for (let i = 0; i < 25; i++) {
      const asked = await peer.expect("post");
      t.equal(asked["text"], `post ${i}`);
      peer.ok(asked, { id: `p${i}`, cursor: `e1-${i}` });
    }
    t.same(
      (await Promise.all(all)).map(({ id }) => id),
      Array.from({ length: 25 }, (_, i) => `p${i}`),
    );
  },
);

await tap.test("past the named maximum of unanswered requests one more is refused", async (t) => {
  const { me } = await startSession(t);
  const all = Array.from({ length: clientLimits.requests }, () => me.ping());
  const settled = Promise.allSettled(all);
  await t.rejects(me.ping(), { name: "ConnectionError", code: "too_many_requests", retryable: true });
  await me.close();
  for (const result of await settled) {
    if (result.status !== "rejected" || result.reason.code !== "closed") t.fail("every request is refused");
  }
});

await tap.test("a request without an answer in time is refused; a late answer is ignored", async (t) => {
  const { me, peer } = await startSession(t, { requestTimeoutMs: 20 });
  await t.rejects(me.ping(), { name: "ConnectionError", code: "timeout", retryable: true });
  peer.ok(await peer.expect("ping"), { at: 1 });
  peer.ok({ op: "none", id: 999_999 }, { at: 2 });
  await peer.settled();
  const second = me.ping();
  peer.ok(await peer.expect("ping"), { at: 3 });
  t.same(await second, { at: 3 });
});

await tap.test("what cannot be read is reported and costs only itself", async (t) => {
  const { me, peer } = await startSession(t, { codec: "json" });
  const home = me.stream("home");
  await peer.agree();
  const errors: Error[] = [];
  me.on("error", (error) => errors.push(error));
  peer.ws.send("{not json");
  peer.ws.send("[1]");
  peer.ws.send(Buffer.from([1, 2, 3]));
  peer.send({ sub: 7, ...post(1) }, { sub: 1, event: "post" }, { what: "ever" }, { id: "x", ok: {} });
  peer.send({ error: { code: "bad_frame", message: "what?", retryable: false } }, { id: 77, error: "odd" });
  peer.send({ error: null }, { sub: 1, ...post(1) });
  t.equal((await nextEvent(home)).cursor, "e1-1");
  t.same(
    errors.map((error) => (error as { code?: string }).code),
    ["bad_frame", "bad_frame", "bad_frame", "bad_frame", "internal"],
  );
});

await tap.test("answers of an odd shape refuse their request", async (t) => {
  const { me, peer } = await startSession(t);
  for (const answer of [{}, { ok: 5 }, { error: "odd" }, { error: { code: "of_tomorrow", message: "?" } }]) {
    const refused = t.rejects(me.ping(), { name: "WhalesongError", code: "internal" });
    peer.send({ id: (await peer.expect("ping")).id, ...answer });
    await refused;
  }
});

await tap.test("a broker that keeps sending garbage is left, and tried anew", async (t) => {
  const { me, peer, broker } = await startSession(t);
  const lost = new Promise((resolve) => me.on("disconnect", resolve));
  for (let i = 0; i < 16; i++) peer.ws.send(Buffer.from([0xc1]));
  t.match(await lost, { error: { code: "disconnected", message: /16 frames/ } });
  await (await broker.peer()).welcome();
});
