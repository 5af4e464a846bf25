/* Cursors in a cluster: a reader who moves from node to node goes on where it was. */

import tap, { type Test } from "tap";

import { State, cursorKey } from "../../broker/state/index.ts";
import { type Inbox, SessionClient, offsetOf } from "../sessions/session-client.ts";
import { Cluster, type ClusterNode } from "./broker-process.ts";
import { placeOf, until } from "./gossip-node.ts";
import { NatsProxy } from "./nats-proxy.ts";
import { NatsServers, natsTest } from "./nats-server.ts";
import { budget } from "../pace.ts";

const timeoutMs = 120_000;
// All of them together may take longer than a file of tests has by default.
tap.setTimeout(budget(400_000));
/** With and without worker processes. */
const each = ["0", "1"];

interface Two {
  a: ClusterNode;
  b: ClusterNode;
  /** The way of `b` to NATS. */
  way: NatsProxy;
}

async function two(t: Test, workers: string): Promise<Two> {
  const nats = await NatsServers.for(t);
  const way = await NatsProxy.for(t, nats.urls);
  const flags = ["--workers", workers];
  const { nodes } = await Cluster.for(t, { nodes: 2, nats: nats.urls, flags, last: { nats: way.url } });
  const [a, b] = nodes as [ClusterNode, ClusterNode];
  return { a, b, way };
}

function connect({ url }: ClusterNode, user: string, device = "phone"): Promise<SessionClient> {
  return SessionClient.open(url, { user, device });
}

/** Posts by `author`; the cursors of the answers. */
async function publish(author: SessionClient, count: number): Promise<string[]> {
  const cursors: string[] = [];
  for (let i = 0; i < count; i++)
    cursors.push((await author.request("post", { text: `${i}` }))["cursor"] as string);
  return cursors;
}

function postsOf({ events }: Inbox): unknown[] {
  return events.filter(({ event }) => event === "post").map(({ cursor }) => cursor);
}

/** What the node has on disk of the cursor of `user`, number 1, looked up beside it. */
async function onDisk(node: ClusterNode): Promise<string | undefined> {
  const state = State.openReader(node.folder);
  const found = placeOf(state.cursors.get(cursorKey(1, "phone", "home")));
  await state.close();
  return found;
}

for (const workers of each) {
  await natsTest(
    tap,
    `a reader goes on at another node where it was, also when it comes back (${workers} workers)`,
    { timeoutMs },
    async (t) => {
      const { a, b } = await two(t, workers);
      const onA = await connect(a, "ann");
      const { start, sub } = await onA.subscribe("home");
      const posts = await publish(onA, 4);

      // The cursor was begun at the head a moment ago; a node to which that is new would begin it anew.
      const early = await connect(b, "ann");
      const first = await early.subscribeLive("home");
      t.equal(first.start, start);
      await early.until(() => postsOf(first).length === 4);
      t.same(postsOf(first), posts);
      early.terminate();

      await onA.request("ack", { sub, cursor: posts[1] });
      onA.terminate();
      await until(async () => (await onDisk(b)) === `0:${offsetOf(posts[1])}`);
      const onB = await connect(b, "ann");
      const again = await onB.subscribeLive("home");
      t.equal(again.start, posts[1]);
      await onB.until(() => postsOf(again).length === 2);
      t.same(postsOf(again), posts.slice(2));
      await onB.request("ack", { sub: again.sub, cursor: posts[2] });
      onB.terminate();
      await until(async () => (await onDisk(a)) === `0:${offsetOf(posts[2])}`);
      const back = await connect(a, "ann");
      t.equal((await back.subscribe("home")).start, posts[2]);
    },
  );

  await natsTest(
    tap,
    `a seek at one node is honoured at another, whose late acknowledgements do not undo it (${workers} workers)`,
    { timeoutMs },
    async (t) => {
      const { a, b } = await two(t, workers);
      const onA = await connect(a, "ann");
      const posts = await publish(onA, 4);
      const onB = await connect(b, "ann");
      const before = await onB.subscribeLive("home", { from: posts[0]! });
      await onB.request("ack", { sub: before.sub, cursor: posts[2] });
      await onA.request("cursor", { stream: "home", set: posts[0] });
      await until(async () => (await onDisk(b)) === `1:${offsetOf(posts[0])}`);
      await onB.request("ack", { sub: before.sub, cursor: posts[3] });
      t.match(await onB.request("cursor", { stream: "home" }), { cursor: posts[0] });
      const again = await (await connect(b, "ann")).subscribeLive("home");
      t.equal(again.start, posts[0]);
      t.match(await onB.request("cursor", { stream: "home", set: posts[1] }), { cursor: posts[1] });
      await until(async () => (await onDisk(a)) === `2:${offsetOf(posts[1])}`);
      t.match(await onA.request("cursor", { stream: "home" }), { cursor: posts[1] });
    },
  );

  await natsTest(
    tap,
    `what a node has given is waited for at one that is behind, and not refused (${workers} workers)`,
    { timeoutMs },
    async (t) => {
      const { a, b, way } = await two(t, workers);
      const onA = await connect(a, "ann");
      const onB = await connect(b, "ann");
      const open = await onB.subscribeLive("home");
      way.hold();
      const posts = await publish(onA, 3);
      const last = posts[2]!;
      const asked = {
        subscribe: onB.subscribe("user:ann", { from: last }),
        ack: onB.request("ack", { sub: open.sub, cursor: last }),
        get: onB.request("get", { post: last }),
        thread: onB.subscribe(`thread:${last}`, { from: "earliest" }),
        read: onB.request("read", { stream: "user:ann", after: last }),
        back: onB.request("read", { stream: "user:ann", before: last }),
        seek: onB.request("cursor", { stream: "mentions", set: last }),
      };
      const answered: string[] = [];
      for (const [name, answer] of Object.entries(asked)) void answer.then(() => answered.push(name));
      await onB.request("ping");
      t.same(answered, [], "they wait");
      way.release();
      t.equal((await asked.subscribe).start, last);
      t.same(await asked.ack, { cursor: last });
      t.match(await asked.get, { post: { text: "2" } });
      await asked.thread;
      t.match(await asked.read, { items: [], after: last });
      t.match(await asked.back, { items: posts.slice(0, 2).map((cursor) => ({ cursor })) });
      t.match(await asked.seek, { cursor: last });
    },
  );
}

await natsTest(
  tap,
  "a cursor that no node has reached is refused after a while; a node that is away from NATS says to come again",
  { timeoutMs },
  async (t) => {
    const { b, way } = await two(t, "1");
    const onB = await connect(b, "ann");
    const [post] = await publish(onB, 1);
    const future = post!.replace(/[0-9]+$/, "123456789");
    await t.rejects(onB.subscribe("home", { from: future }), {
      code: "cursor_in_future",
      retryable: false,
    });
    way.hold();
    await b.untilUnready();
    const again = { code: "unavailable", retryable: true };
    await Promise.all([
      t.rejects(onB.request("subscribe", { stream: "home", from: future }), again),
      t.rejects(onB.request("read", { stream: "user:ann", after: future }), again),
    ]);
    const resumed = await onB.subscribeLive("home");
    t.ok(resumed.start, "and who resumes from what it knows is served");
    way.release();
    await b.untilReady();
  },
);

await natsTest(
  tap,
  "a node that was not there, or was cut off, has the others' cursors soon after, and needs nobody then",
  { timeoutMs },
  async (t) => {
    const { a, b, way } = await two(t, "0");
    const onA = await connect(a, "ann");
    const { sub } = await onA.subscribe("home");
    const posts = await publish(onA, 3);
    await b.kill();
    await onA.request("ack", { sub, cursor: posts[0] });
    await b.start({ nats: way.url });
    await until(async () => (await onDisk(b)) === `0:${offsetOf(posts[0])}`);
    await b.untilReady();
    way.hold();
    await b.untilUnready();
    await onA.request("ack", { sub, cursor: posts[1] });
    way.release();
    await until(async () => (await onDisk(b)) === `0:${offsetOf(posts[1])}`);
    await b.untilReady();
    await a.kill();
    const onB = await connect(b, "ann");
    const again = await onB.subscribeLive("home");
    t.equal(again.start, posts[1]);
    await onB.until(() => postsOf(again).length === 1);
    t.same(postsOf(again), posts.slice(2));
  },
);

for (const workers of each) {
  await natsTest(
    tap,
    `a first resume at a node that is cut off begins no cursor that undoes the true one (${workers} workers)`,
    { timeoutMs },
    async (t) => {
      const { a, b, way } = await two(t, workers);
      const onA = await connect(a, "ann");
      const posts = await publish(onA, 4);
      const writer = await connect(b, "bob");
      await writer.request("follow", { user: "ann" });
      await writer.request("get", { post: posts[3] }); // so far b is
      way.hold();
      const { sub } = await onA.subscribe("home", { from: "earliest" });
      await onA.request("ack", { sub, cursor: posts[0] });
      await b.untilUnready();
      const cut = await connect(b, "ann");
      const served = await cut.subscribeLive("home");
      t.ok(offsetOf(served.start) >= offsetOf(posts[3]), "who is not known there is served, from the head");
      await cut.request("ack", { sub: served.sub, cursor: served.start });
      const fresh = await (await connect(b, "ann", "tv")).subscribe("home");
      way.release();
      await b.untilReady();
      await until(async () => (await onDisk(b)) === `0:${offsetOf(posts[0])}`);
      await cut.request("ack", { sub: served.sub, cursor: (await publish(onA, 1))[0] });
      for (const node of [a, b]) {
        const again = await connect(node, "ann");
        const inbox = await again.subscribeLive("home");
        t.equal(inbox.start, posts[0], `${node.name}: the true one`);
        await again.until(() => postsOf(inbox).length === 4);
        t.same(postsOf(inbox).slice(0, 3), posts.slice(1), `${node.name}: and nothing is skipped`);
        const tv = await (await connect(node, "ann", "tv")).subscribe("home");
        t.equal(tv.start, fresh.start, `${node.name}: what was begun there and nowhere else stays`);
        again.terminate();
      }
      t.equal(await onDisk(a), `0:${offsetOf(posts[0])}`);
    },
  );
}
