/* Readers and authors who are no users yet: to read makes nobody one, and nothing is missed once they are. */

import tap, { type Test } from "tap";

import type { CodecName } from "../../protocol/index.ts";
import { call, secret, startBroker, tokenFor } from "../transports/server.ts";
import { brokerFor } from "../workers/broker-under-test.ts";
import { type Inbox, type Message, SessionClient } from "./session-client.ts";

tap.setTimeout(200_000);

const codecs: CodecName[] = ["json", "msgpack"];

function postsOf({ events }: Inbox): unknown[] {
  return events.filter(({ event }) => event === "post").map(({ cursor }) => cursor);
}

await tap.test("to read makes nobody a user, and changes nothing", async (t) => {
  const broker = await brokerFor(t);
  const ann = await broker.connect("ann");
  const { id } = await ann.request("post", { text: "#news" });
  const before = broker.head;
  const nobody = await broker.connect("nobody");
  for (const stream of [
    "home",
    "mentions",
    "user:nobody",
    "user:nowhere",
    "tag:news",
    `thread:${String(id)}`,
    "firehose",
  ]) {
    for (const from of ["live", "earliest", id])
      await nobody.unsubscribe(await nobody.subscribeLive(stream, { from }));
    t.notOk((await nobody.request("cursor", { stream }))["cursor"]);
    await nobody.request("cursor", { stream, device: "other" });
  }
  for (const stream of ["home", "mentions", "tag:news", "firehose"]) await nobody.request("read", { stream });
  for (const user of ["nowhere", "nobody"])
    for (const [op, fields] of [
      ["read", { stream: `user:${user}` }],
      ["followers", { user }],
      ["relationship", { user }],
    ] as const)
      await t.rejects(ann.request(op, fields), { code: "not_found" }, `${op} of ${user}`);
  t.equal(broker.head, before, "no command was applied");
});

await tap.test("what is first kept of a reader makes that reader a user, and nobody else", async (t) => {
  const broker = await brokerFor(t);
  const ann = await broker.connect("ann");
  const [post] = [(await ann.request("post", { text: "hi" }))["cursor"]];
  const ways: Record<string, (client: SessionClient) => Promise<unknown>> = {
    resume: (client) => client.subscribe("user:resume-author"),
    seek: (client) => client.request("cursor", { stream: "user:seek-author", set: "live" }),
    async ack(client) {
      const { sub } = await client.subscribeLive("user:ack-author", { from: "live" });
      await client.request("ack", { sub, cursor: post });
    },
  };
  for (const [way, run] of Object.entries(ways)) {
    const before = broker.head;
    const client = await broker.connect(way, { device: "phone" });
    await run(client);
    t.equal(broker.head, before + 1, `${way}: one command`);
    t.match(await ann.request("relationship", { user: way }), { user: way });
    await t.rejects(ann.request("relationship", { user: `${way}-author` }), { code: "not_found" });
    t.ok((await client.request("cursor", { stream: `user:${way}-author` }))["cursor"], `${way}: it is kept`);
  }
});

/** What a connection posts right behind the request that fixes where a stream begins; all in one go. */
const streams: Record<string, (n: string, thread: string) => [stream: string, post: Message]> = {
  home: (n) => ["home", { text: n }],
  "their own": (n) => [`user:new${n}`, { text: n }],
  "another's": (n) => [`user:other${n}`, { text: n, as: `other${n}` }],
  mentions: (n) => ["mentions", { text: `hello @new${n}`, as: `other${n}` }],
  tag: (n) => [`tag:t${n}`, { text: `#t${n}` }],
  thread: (n, thread) => [`thread:${thread}`, { text: n, replyTo: thread }],
};

for (const codec of codecs) {
  await tap.test(`what is posted right behind a request for a stream is in it (${codec})`, async (t) => {
    const broker = await brokerFor(t);
    const ann = await broker.connect("ann");
    const thread = (await ann.request("post", { text: "first" }))["id"] as string;
    let n = 0;
    for (const [name, of] of Object.entries(streams)) {
      for (const isKnown of [false, true]) {
        for (const from of ["resume", "live", "seek"]) {
          const user = `new${++n}`;
          const [stream, post] = of(`${n}`, thread);
          const client = await broker.connect(user, { codec, device: "phone" });
          if (isKnown)
            for (const as of [user, `other${n}`]) await ann.request("post", { text: "earlier", as });
          const asked =
            from === "seek"
              ? client.request("cursor", { stream, set: "live" })
              : client.subscribe(stream, { from });
          const posted = client.request("post", post);
          const begun = await asked;
          const inbox = from === "seek" ? await client.subscribe(stream) : (begun as Inbox);
          const { cursor } = await posted;
          await client.until(() => inbox.events.some((event) => event["cursor"] === cursor));
          t.same(postsOf(inbox), [cursor], `${name}, ${from}, the reader ${isKnown ? "known" : "new"}`);
          client.terminate();
        }
      }
    }
    t.same(broker.faults, []);
  });
}

await tap.test(
  "streams of who is nobody yet go on once they are somebody, in order and without repeats",
  async (t) => {
    const broker = await brokerFor(t);
    const reader = await broker.connect("reader");
    const nobody = await broker.connect("Nobody");
    const author = await reader.subscribeLive("user:NOBODY", { from: "live" });
    const other = await broker.connect("reader");
    const again = await other.subscribe("user:nobody", { from: "earliest" });
    const home = await nobody.subscribeLive("home", { from: "live" });
    const mentions = await nobody.subscribeLive("mentions", { from: "live" });
    const bob = await broker.connect("bob");
    const unseen = (await bob.request("post", { text: "before" }))["cursor"];
    const mention = (await bob.request("post", { text: "hello @nobody" }))["cursor"];
    const own = (await nobody.request("post", { text: "it is me" }))["cursor"];
    await nobody.request("follow", { user: "bob" });
    const followed = (await bob.request("post", { text: "after" }))["cursor"];
    await nobody.request("unfollow", { user: "bob" });
    await bob.request("post", { text: "no longer" });
    const last = (await nobody.request("post", { text: "last" }))["cursor"];
    await nobody.until(() => postsOf(home).includes(last));
    await reader.until(() => postsOf(author).includes(last));
    await other.until(() => postsOf(again).includes(last));
    await nobody.until(() => postsOf(mentions).includes(mention));
    t.same(postsOf(home), [own, followed, last]);
    t.same(postsOf(mentions), [mention]);
    t.same(
      [postsOf(author), postsOf(again)],
      [
        [own, last],
        [own, last],
      ],
    );
    t.notOk(postsOf(home).includes(unseen));
    await reader.unsubscribe(author);
    const more = (await nobody.request("post", { text: "more" }))["cursor"];
    await other.until(() => postsOf(again).includes(more));
    t.notOk(postsOf(author).includes(more));
  },
);

await tap.test("many who come and go while they are awaited leave the others what is theirs", async (t) => {
  const broker = await brokerFor(t);
  const reader = await broker.connect("reader");
  const other = await broker.connect("reader");
  const inboxes: Inbox[] = [];
  for (const client of [reader, other])
    for (let i = 0; i < 20; i++) inboxes.push(await client.subscribe(`user:u${i}`, { from: "live" }));
  for (const inbox of inboxes.slice(0, 20)) await reader.unsubscribe(inbox);
  const writer = await broker.connect("writer");
  const cursors = await Promise.all(
    Array.from(
      { length: 20 },
      async (_, i) => (await writer.request("post", { text: "x", as: `u${i}` }))["cursor"],
    ),
  );
  for (const [i, cursor] of cursors.entries())
    await other.until(() => postsOf(inboxes[20 + i]!).includes(cursor));
  t.same(
    inboxes.slice(0, 20).map(postsOf),
    Array.from({ length: 20 }, () => []),
  );
  t.same(
    inboxes.slice(20).map(postsOf),
    cursors.map((cursor) => [cursor]),
  );
});

await tap.test("what a live reader who was nobody has acknowledged is where they resume", async (t) => {
  const broker = await brokerFor(t);
  const ann = await broker.connect("ann");
  const nobody = await broker.connect("nobody", { device: "phone" });
  const { sub } = await nobody.subscribeLive("user:ann", { from: "live" });
  const cursors: unknown[] = [];
  for (let i = 0; i < 3; i++) cursors.push((await ann.request("post", { text: `${i}` }))["cursor"]);
  nobody.send({ op: "ack", sub, cursor: cursors[0] });
  await nobody.request("ack", { sub, cursor: cursors[1] });
  nobody.terminate();
  const again = await broker.connect("nobody", { device: "phone" });
  const inbox = await again.subscribeLive("user:ann");
  t.equal(inbox.start, cursors[1]);
  t.same(postsOf(inbox), cursors.slice(2));
});

await tap.test("what readers make counts against their rate; what they only ask for does not", async (t) => {
  const { url } = await startBroker(t, { userRate: 0.001, userBurst: 5, authSecret: secret });
  const [annToken, bobToken] = [await tokenFor("ann"), await tokenFor("bob")];
  const as = { headers: { authorization: `Bearer ${annToken}` } };
  const ann = await open(t, url, annToken);
  const refused = { code: "rate_limited", retryable: true, details: { retryAfterMs: Number } };
  for (let i = 0; i < 5; i++) await ann.subscribe(`user:random${i}`); // the first makes ann, the others a cursor each
  await t.rejects(ann.subscribe("user:random5"), refused, "a first resume");
  await t.rejects(ann.request("cursor", { stream: "home", set: "live" }), refused, "a seek");
  const put = await call(url, "PUT /v1/users/ann/cursors/home", { ...as, body: { set: "live" } });
  t.equal(put.status, 429, "a seek by HTTP");
  const sse = await call(url, "GET /v1/stream?stream=mentions&device=tv", as);
  t.match(sse.text, /"rate_limited"/, "a first resume by HTTP");
  for (let i = 0; i < 20; i++) {
    await ann.unsubscribe(await ann.subscribe(`user:other${i}`, { from: "live" }));
    await ann.request("cursor", { stream: `user:other${i}` });
    t.equal((await call(url, `GET /v1/users/ann/cursors/user%3Aother${i}`, as)).status, 200);
  }
  const again = await open(t, url, annToken);
  t.ok((await again.subscribe("user:random0")).start, "a cursor that is there is resumed from at no price");
  const bob = await open(t, url, bobToken);
  await bob.subscribe("home");
  t.match(await bob.request("relationship", { user: "ann" }), { user: "ann" });
  await t.rejects(bob.request("relationship", { user: "random0" }), { code: "not_found" });
  for (let i = 0; i < 4; i++) await bob.request("post", { text: "x" });
  await t.rejects(bob.request("post", { text: "x" }), refused, "one rate for all");
});

async function open(t: Test, url: string, token: string): Promise<SessionClient> {
  const client = await SessionClient.open(url);
  t.teardown(() => client.terminate());
  await client.request("hello", { token, device: "phone" });
  return client;
}
