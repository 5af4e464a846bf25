/* Users who are dropped since nothing refers to them, as their clients and readers see it. Again with worker processes. */

import tap, { type Test } from "tap";

import { EventReader } from "../transports/event-reader.ts";
import { startBroker } from "../transports/server.ts";
import { type BrokerUnderTest, brokerFor } from "../workers/broker-under-test.ts";
import { SessionBroker } from "./session-broker.ts";
import { type Inbox, SessionClient, offsetOf } from "./session-client.ts";
import { budget } from "../pace.ts";

tap.setTimeout(budget(200_000));

function postsOf({ events }: Inbox): unknown[] {
  return events.filter(({ event }) => event === "post").map(({ cursor }) => cursor);
}

async function checkNone(t: Test, client: SessionClient, user: string): Promise<void> {
  await t.rejects(client.request("relationship", { user }), { code: "not_found" }, `there is no ${user}`);
}

/** Posts as `author`; the cursor. */
async function postAs(client: SessionClient, as: string, text = "hi"): Promise<unknown> {
  return (await client.request("post", { as, text }))["cursor"];
}

async function trimAll(broker: BrokerUnderTest): Promise<void> {
  await broker.trim(broker.head);
}

await tap.test("open streams go on when a handle that was dropped comes back", async (t) => {
  const broker = await brokerFor(t);
  const ann = await broker.connect("ann");
  const reader = await broker.connect("reader");
  await postAs(ann, "ann");
  const own = await ann.subscribeLive("home", { from: "live" });
  const mentions = await ann.subscribeLive("mentions", { from: "live" });
  const author = await reader.subscribeLive("user:Ann", { from: "live" });
  const seen: unknown[] = [];
  const named: unknown[] = [];
  for (let i = 0; i < 4; i++) {
    await trimAll(broker);
    await checkNone(t, reader, "ann");
    // First by a mention, or first by a post.
    if (i % 2 === 0) named.push(await postAs(reader, "other", "hello @ann"));
    seen.push(await postAs(ann, "ann"));
    if (i % 2 === 1) named.push(await postAs(reader, "other", "hello @ann"));
    await ann.until(() => postsOf(own).length === i + 1 && postsOf(mentions).length === i + 1);
    await reader.until(() => postsOf(author).length === i + 1);
  }
  t.same(postsOf(own), seen);
  t.same(postsOf(author), seen);
  t.same(postsOf(mentions), named);
  const late = await broker.connect("late");
  t.same(postsOf(await late.subscribeLive("user:ann", { from: "earliest" })), seen.slice(-1));
  t.same(broker.faults, []);
});

await tap.test(
  "who keeps a cursor is not dropped, whichever way it was begun; who has none is",
  async (t) => {
    const broker = await brokerFor(t);
    const writer = await broker.connect("writer");
    const ways: Record<string, (client: SessionClient, cursor: unknown) => Promise<unknown>> = {
      resume: (client) => client.subscribeLive("firehose"),
      seek: (client) => client.request("cursor", { stream: "firehose", set: "live" }),
      async ack(client, cursor) {
        const { sub } = await client.subscribeLive("firehose", { from: "live" });
        await client.request("ack", { sub, cursor });
      },
      read: (client) => client.subscribeLive("firehose", { from: "live" }),
    };
    const clients: [string, SessionClient][] = [];
    for (const [way, run] of Object.entries(ways)) {
      // Each is a user by what was written before they ask for anything.
      const cursor = await postAs(writer, way);
      const client = await broker.connect(way, { device: "phone" });
      await run(client, cursor);
      clients.push([way, client]);
    }
    await postAs(writer, "writer");
    await trimAll(broker);
    for (const [way, client] of clients) {
      if (way === "read") {
        await checkNone(t, writer, way);
        continue;
      }
      t.match(await writer.request("relationship", { user: way }), { user: way });
      t.ok((await client.request("cursor", { stream: "firehose" }))["cursor"], `${way}: the cursor is kept`);
    }
    t.same(broker.faults, []);
  },
);

await tap.test(
  "where nothing can be written, who is a user by what was written resumes; is claimed when that can be",
  async (t) => {
    let fullness: string | undefined;
    const broker = await SessionBroker.for(t, { fullness: () => fullness });
    const writer = await broker.connect("writer");
    const first = await postAs(writer, "ann");
    await postAs(writer, "ann");
    fullness = "the store is full";
    const ann = await broker.connect("ann", { device: "phone" });
    const { sub } = await ann.subscribeLive("home");
    const nobody = await broker.connect("nobody", { device: "phone" });
    await t.rejects(nobody.subscribe("home"), { code: "storage_full" });
    await ann.request("ack", { sub, cursor: first });
    fullness = undefined;
    const before = broker.head;
    await ann.request("ack", { sub, cursor: first });
    while (broker.head === before) await new Promise((resolve) => setImmediate(resolve));
    await broker.trim(offsetOf(first) + 1);
    const { start } = await (await broker.connect("ann", { device: "phone" })).subscribe("home");
    t.equal(start, broker.positions.cursor(offsetOf(first) + 1), "its cursor, begun at the head");
    t.same(broker.faults, []);
  },
);

await tap.test("a retry with a publish key is answered as before, though all else is gone", async (t) => {
  const broker = await brokerFor(t);
  const ann = await broker.connect("ann");
  const first = await ann.request("post", { text: "hi @ben", key: "k" });
  await trimAll(broker);
  await checkNone(t, ann, "ben");
  t.match(await ann.request("relationship", { user: "ann" }).catch((error: unknown) => error), {
    user: "ann",
  });
  t.equal((await ann.request("post", { text: "hi @ben", key: "k" }))["id"], first["id"]);
});

await tap.test("clients are not told of who is dropped, live or by pages", async (t) => {
  const broker = await brokerFor(t);
  const writer = await broker.connect("writer");
  const reader = await broker.connect("reader");
  const firehose = await reader.subscribeLive("firehose", { from: "earliest" });
  await postAs(writer, "ann", "hello @ben");
  await trimAll(broker);
  const last = await postAs(writer, "writer");
  await reader.until(() => postsOf(firehose).includes(last));
  t.same(
    firehose.events.map(({ event }) => event).filter((event) => event !== "cursor"),
    ["live", "post", "post"],
  );
  const { items } = await reader.request("read", { stream: "firehose" });
  t.match(items, [{ event: "post", cursor: last }]);
  t.equal((items as unknown[]).length, 1);
  t.same(broker.faults, []);
});

await tap.test(
  "after a loop of mentions of random handles retention brings the users back to what they were",
  async (t) => {
    const broker = await startBroker(t, { retainCount: 1, userRate: 1e6, userBurst: 1e6 });
    const users = async (): Promise<number> => {
      const text = await (await fetch(`${broker.url}/metrics`)).text();
      return Number(/^whalesong_table_entries\{table="users"\} (\d+)/m.exec(text)?.[1]);
    };
    const reader = await SessionClient.open(broker.url, { user: "reader", device: "phone" });
    await reader.subscribeLive("home"); // has a cursor, and stays
    const sse = await EventReader.open(`${broker.url}/v1/stream?stream=user:ann&from=live&user=sse`);
    const me = await SessionClient.open(broker.url, { user: "ann" });
    let made = 0;
    for (let round = 0; round < 2; round++) {
      const first = await me.request("post", { text: `round ${round}` });
      t.match(await nextPost(sse), { id: first["id"] });
      for (let i = 0; i < 20; i++) {
        const mentions = Array.from({ length: 50 }, () => `x${++made}`);
        await me.request("post", { text: "spam", mentions });
        await nextPost(sse);
      }
      for (let left = await users(); left > 1; left = await users()) {
        await reader.request("post", { text: "time goes by" }); // so that what is counted moves on
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await checkNone(t, reader, "ann");
    }
    t.equal(made, 2_000);
    t.match(await reader.request("relationship", { user: "reader" }), { user: "reader" });
    const back = await me.request("post", { text: "back" });
    t.match(await nextPost(sse), { id: back["id"] });
    sse.close();
  },
);

/** The post of the next event that is one. */
async function nextPost(reader: EventReader): Promise<unknown> {
  for (;;) {
    const event = await reader.next();
    if (event === undefined) throw new Error("the stream has ended");
    if (event.event === "post") return event.data?.["post"];
  }
}
