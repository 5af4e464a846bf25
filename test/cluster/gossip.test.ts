/* Gossip: cursors from node to node, over a real NATS, whatever gets lost on the way. */

import { Packr } from "msgpackr";
import tap from "tap";

import { decodeGossip } from "../../broker/cluster/gossip-messages.ts";
import { Environment } from "../../broker/state/environment.ts";
import { type CursorKey, cursorKey } from "../../broker/state/index.ts";
import { type GossipNode, ground, placeOf, subject, until } from "./gossip-node.ts";
import { natsTest } from "./nats-server.ts";

const timeoutMs = 60_000;
const home = (user: number): CursorKey => cursorKey(user, "phone", "home");

async function current(...nodes: GossipNode[]): Promise<void> {
  for (const { gossip } of nodes) await until(() => gossip.isCurrent);
}

/** How often it has fetched a peer's cursors. */
function fetched({ logged }: GossipNode): number {
  return logged.filter((line) => line.includes("cursors fetched")).length;
}

await natsTest(
  tap,
  "a cursor moved at one node is so at the others, once, and stays after a restart",
  { timeoutMs },
  async (t) => {
    const { node } = await ground(t);
    const [a, b, c] = [await node("a"), await node("b"), await node("c")];
    await current(a, b, c);
    let updates = 0;
    const standings = new Map<string, number>();
    c.connection.subscribe(subject, {
      callback: (_, { data }) => {
        const message = decodeGossip(data);
        if (message.kind === "update") updates += message.cursors.length;
        if (message.kind === "standing") standings.set(message.run, (standings.get(message.run) ?? 0) + 1);
      },
    });
    await c.connection.flush();
    a.cursors.begin(home(1), 5);
    a.cursors.acknowledge(home(1), 9, 0);
    await a.cursors.flush();
    await until(() => b.place(home(1)) === "0:9" && c.place(home(1)) === "0:9");
    b.cursors.seek(home(1), 2);
    await b.cursors.flush();
    await until(() => a.place(home(1)) === "1:2" && c.place(home(1)) === "1:2");
    a.cursors.acknowledge(home(1), 10, 0);
    a.cursors.acknowledge(home(1), 4, 1);
    await a.cursors.flush();
    await until(() => b.place(home(1)) === "1:4" && c.place(home(1)) === "1:4");
    // Everyone has said what it has, and has had time to fetch what the others began with.
    standings.clear();
    await until(() => standings.size === 3 && [...standings.values()].every((count) => count >= 3));
    await current(a, b, c);
    const fetches = [a, b, c].map(fetched);
    for (let user = 2; user <= 40; user++) {
      const mover = [a, b, c][user % 3]!;
      mover.cursors.begin(home(user), user);
      await mover.cursors.flush();
    }
    await until(async () =>
      (await Promise.all([a, b, c].map((one) => one.all()))).every(({ size }) => size === 40),
    );
    t.same([a, b, c].map(fetched), fetches, "who hears all fetches nothing");
    t.equal(updates, 3 + 39, "each change was told by the node that made it, and by no other");
    await b.stop();
    const again = await node("b", { folder: b.folder });
    t.equal(again.place(home(1)), "1:4");
  },
);

await natsTest(
  tap,
  "a node that comes later fetches all cursors of one peer, page by page",
  { timeoutMs },
  async (t) => {
    const { node } = await ground(t);
    const [a, c] = [await node("a"), await node("c")];
    const count = 7_001;
    for (let user = 1; user <= count; user++) a.cursors.begin(home(user), user);
    await a.cursors.flush();
    c.cursors.begin(home(count + 1), 1);
    await c.cursors.flush();
    await until(async () => (await c.all()).size === count + 1 && (await a.all()).size === count + 1);
    for (const one of [a, c]) await until(() => fetched(one) > 0); // what the other began with
    const b = await node("b");
    await current(b);
    t.same(await b.all(), await a.all());
    await until(() => fetched(b) > 0);
    t.equal(fetched(b), 1, "one of them covers both");
  },
);

await natsTest(
  tap,
  "what is moved while NATS is away comes to the others once it is back",
  { timeoutMs },
  async (t) => {
    const { nats, node } = await ground(t);
    const [a, b] = [await node("a"), await node("b")];
    await current(a, b);
    await nats.stop();
    await until(() => !a.gossip.isCurrent && !b.gossip.isCurrent);
    for (let offset = 1; offset <= 3; offset++) {
      a.cursors.acknowledge(home(1), offset, 0);
      b.cursors.acknowledge(home(2), offset, 0);
      await Promise.all([a.cursors.flush(), b.cursors.flush()]);
    }
    t.equal(await a.cursors.get(home(2)), undefined, "and nobody waits for whom they cannot ask");
    await nats.start();
    await until(() => a.place(home(2)) === "0:3" && b.place(home(1)) === "0:3");
    await current(a, b);
    t.pass("they agree");
  },
);

await natsTest(
  tap,
  "updates that get lost are noticed and fetched: on the way, or for want of room while NATS is away",
  { timeoutMs },
  async (t) => {
    const { nats, node } = await ground(t);
    const [a, b] = [await node("a", { maxPending: 10 }), await node("b")];
    await current(a, b);
    await nats.stop();
    await until(() => !a.gossip.isCurrent);
    for (let user = 1; user <= 50; user++) a.cursors.begin(home(user), user);
    await a.cursors.flush();
    await nats.start();
    await until(async () => (await b.all()).size === 50);
    t.same(await b.all(), await a.all());
    // b hears nothing for a moment, and does not know it.
    await b.connection.reconnect();
    for (let user = 51; user <= 80; user++) {
      a.cursors.begin(home(user), user);
      await a.cursors.flush();
    }
    await until(async () => (await b.all()).size === 80);
    await current(a, b);
    t.same(await b.all(), await a.all());
  },
);

await natsTest(
  tap,
  "a cursor that is not known here is asked for at once, and no node that is gone is waited for twice",
  { timeoutMs },
  async (t) => {
    const { node } = await ground(t);
    const [a, b, c] = [
      await node("a", { standingMs: 60_000 }),
      await node("b", { standingMs: 60_000 }),
      await node("c", { standingMs: 60_000 }),
    ];
    await current(a, b, c);
    a.cursors.begin(home(1), 7); // gathered, neither on disk nor told of
    t.equal(placeOf(await b.cursors.get(home(1))), "0:7");
    const found = await Promise.all(
      Array.from({ length: 3_000 }, async (_, i) => b.cursors.get(home(i + 1))),
    );
    t.same(found.map(placeOf), ["0:7", ...Array.from({ length: 2_999 }, () => undefined)]);
    await c.connection.close(); // without a word
    const before = Date.now();
    await b.cursors.get(home(2));
    const waited = Date.now() - before;
    t.ok(waited >= 900, `it might have come yet: waited ${waited} ms`);
    let isSettled = false;
    const next = Promise.resolve(b.cursors.get(home(3))).then(() => void (isSettled = true));
    await b.connection.flush(); // the question
    await a.connection.flush(); // the answer
    await until(() => isSettled);
    await next;
    t.pass("who answers is all that is waited for");
  },
);

await natsTest(
  tap,
  "messages of another history, of a newer version or of none are passed over, with a line in the log",
  { timeoutMs },
  async (t) => {
    const { elsewhere, node } = await ground(t);
    const [a, b, other] = [await node("a"), await node("b"), await node("other", { folder: elsewhere })];
    await current(a, b, other);
    other.cursors.begin(home(1), 99);
    await other.cursors.flush();
    const packr = new Packr({ useRecords: false });
    const { epoch } = a.state.positions;
    const whole = {
      v: 1,
      epoch,
      run: "x",
      node: "x",
      kind: "update",
      number: 1,
      cursors: [[home(2), 5, 0]],
    };
    for (const bad of [
      Buffer.from("garbage"),
      Buffer.alloc(0),
      packr.pack(null),
      packr.pack({ ...whole, v: 2 }),
      packr.pack({ ...whole, kind: "rumour" }),
      packr.pack({ ...whole, cursors: [[home(2), -5, 0]] }),
      packr.pack({ ...whole, cursors: [[home(2), 5, 2 ** 32 - 1]] }),
      packr.pack({ ...whole, cursors: [["home", 5, 0]] }),
      packr.pack({ ...whole, cursors: [[cursorKey(0, "phone", "home"), 5, 0]] }),
      packr.pack({ ...whole, cursors: [[home(2), 2 ** 48, 0]] }),
    ])
      for (const to of [subject, `${subject}.${b.gossip.run}`]) a.connection.publish(to, bad);
    a.cursors.begin(home(3), 3);
    await a.cursors.flush();
    await until(() => b.place(home(3)) === "0:3");
    t.equal(b.place(home(1)), undefined);
    t.equal(b.place(home(2)), undefined);
    t.same(await other.all(), new Map([[home(1), "0:99"]]));
    for (const reason of [
      new RegExp(`is of the epoch ${other.state.positions.epoch}`),
      /it has version 2.*upgrade this node/,
      /not valid msgpack/,
    ])
      t.ok(
        b.logged.some((line) => reason.test(line)),
        `the log says ${reason}`,
      );
  },
);

await natsTest(tap, "when the peer that is fetched from goes, another is asked", { timeoutMs }, async (t) => {
  const { node } = await ground(t);
  const [a, b] = [await node("a"), await node("b")];
  for (let user = 1; user <= 5_000; user++) a.cursors.begin(home(user), user);
  await a.cursors.flush();
  await until(async () => (await b.all()).size === 5_000);
  const joining = node("c");
  // One that says it has much, and answers nothing: it was killed just then.
  const c = await joining;
  a.connection.publish(
    subject,
    new Packr({ useRecords: false }).pack({
      v: 1,
      epoch: a.state.positions.epoch,
      run: "dead",
      node: "dead",
      kind: "standing",
      have: { dead: 5 },
    }),
  );
  await until(async () => (await c.all()).size === 5_000);
  t.same(await c.all(), await a.all());
});

await natsTest(tap, "what came to a node last before it stops is at the others", { timeoutMs }, async (t) => {
  const { node } = await ground(t);
  const [a, b] = [await node("a"), await node("b")];
  await current(a, b);
  for (let user = 1; user <= 1_000; user++) a.cursors.begin(home(user), user);
  await a.stop();
  await until(async () => (await b.all()).size === 1_000);
  t.equal(b.place(home(1_000)), "0:1000");
  t.equal(fetched(b), 1, "what a had at first; the rest it was told");
});

await natsTest(
  tap,
  "a cursor whose name is too long keeps no other from the nodes: in an update, an answer, a page, or on disk from before",
  { timeoutMs },
  async (t) => {
    const { node } = await ground(t);
    const a = await node("a");
    const tooLong = [1_100, 1_900].map((length) => cursorKey(1, "d".repeat(length), "home"));
    // As a broker of version 0.1.0 wrote it, on what a client named.
    await a.stop();
    const environment = new Environment(a.folder);
    const { committed, flushed } = environment.transact(() => {
      for (const [, ...name] of tooLong.map((key) => key.split("\u0000"))) {
        const bytes = Buffer.concat([Buffer.from([0, 0, 0, 1]), Buffer.from(name.join("\u0000"))]);
        environment.tables.cursors.putSync(bytes, Buffer.alloc(10));
      }
    });
    await committed;
    await flushed;
    await environment.close();
    const again = await node("a", { folder: a.folder });
    for (let user = 1; user <= 1_200; user++) again.cursors.begin(home(user), user);
    await again.cursors.flush();
    const b = await node("b");
    await until(async () => (await b.all()).size === 1_200);
    await current(b);
    t.equal(fetched(b), 1, "fetched whole");

    const packr = new Packr({ useRecords: false });
    const sent = { v: 1, epoch: b.state.positions.epoch, run: "old", node: "old", kind: "update", number: 1 };
    const rows = [...tooLong, home(2_000)].map((key) => [key, 7, 0]);
    again.connection.publish(subject, packr.pack({ ...sent, cursors: rows }));
    await until(async () => (await b.all()).get(home(2_000)) === "0:7");
    t.equal((await b.all()).size, 1_201);
    again.cursors.acknowledge(tooLong[0]!, 9, 0);
    again.cursors.acknowledge(home(1), 9, 0);
    await again.cursors.flush();
    await until(() => b.place(home(1)) === "0:9");
    t.equal(placeOf(await b.cursors.get(tooLong[0]!)), undefined);
    t.same(
      again.logged.filter((line) => line.includes("could not be")),
      [],
      "and nothing is complained of but the one",
    );
  },
);

await natsTest(
  tap,
  "what is begun where others cannot be asked yields to what they know, and stays where they know nothing",
  { timeoutMs },
  async (t) => {
    const { nats, node } = await ground(t);
    const [a, b] = [await node("a"), await node("b")];
    await current(a, b);
    await nats.stop();
    await until(() => !a.gossip.isCurrent && !b.gossip.isCurrent);
    a.cursors.acknowledge(home(1), 5, 0); // a true one, which b cannot know of
    for (const user of [1, 2]) {
      t.equal(await b.cursors.get(home(user)), undefined);
      b.cursors.begin(home(user), 90);
      const begun = await b.cursors.get(home(user));
      t.equal(placeOf(begun), "-1:90");
      b.cursors.acknowledge(home(user), 95, begun!.generation);
    }
    await Promise.all([a.cursors.flush(), b.cursors.flush()]);
    t.equal(b.place(home(2)), "-1:95", "what is acknowledged of it is as provisional");
    await nats.start();
    await until(() => b.place(home(1)) === "0:5" && a.place(home(2)) === "-1:95");
    await current(a, b);
    t.equal(a.place(home(1)), "0:5");
    b.cursors.acknowledge(home(1), 99, -1);
    await b.cursors.flush();
    t.equal(b.place(home(1)), "0:5", "who was served from the head goes on where they had been before");

    t.equal(placeOf(await b.cursors.get(home(2))), "0:95", "now it is known that there is no other");
    b.cursors.acknowledge(home(2), 97, -1);
    await b.cursors.flush();
    await until(() => a.place(home(2)) === "0:97");
    t.pass("and who began it goes on acknowledging");
    const c = await node("c");
    await until(async () => (await c.all()).size === 2);
    t.same(await c.all(), await a.all());
  },
);

await natsTest(
  tap,
  "a cursor is begun for good where all others answer, and where there are none but NATS is",
  { timeoutMs },
  async (t) => {
    const { node } = await ground(t);
    const a = await node("a");
    await current(a);
    for (const user of [1, 2]) {
      t.equal(await a.cursors.get(home(user)), undefined);
      a.cursors.begin(home(user), 7);
      t.equal(placeOf(await a.cursors.get(home(user))), "0:7");
      if (user === 1) await current(await node("b"), a);
    }
  },
);
