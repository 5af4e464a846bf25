/* Joining: what a node that starts does with its folder, with real snapshots and logs. */

import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { pino } from "pino";
import tap, { type Test } from "tap";

import { beginCluster } from "../../broker/cluster/join.ts";
import { State } from "../../broker/state/index.ts";
import { digestStore } from "../../broker/state/digest.ts";
import { type ClusterWorld, NodeFolder, openWorld } from "./node-folder.ts";
import { natsTest } from "./nats-server.ts";

const timeoutMs = 40_000;
const { signal: never } = new AbortController();

async function found(t: Test): Promise<{ world: ClusterWorld; first: NodeFolder }> {
  const world = await openWorld(t);
  const first = await NodeFolder.for(t, "first");
  await first.join(world);
  return { world, first };
}

/** What is left beside the store once a node has joined, but for the note of who opened it. */
async function names({ path }: NodeFolder): Promise<string[]> {
  return (await readdir(path)).filter((name) => name !== "opening.json").sort();
}

async function sameStore(t: Test, one: NodeFolder, other: NodeFolder): Promise<void> {
  t.same(await digestStore(one.path), await digestStore(other.path));
}

await natsTest(
  tap,
  "three empty nodes that start at once on an empty NATS are one cluster",
  { timeoutMs },
  async (t) => {
    const world = await openWorld(t);
    const nodes = await Promise.all(["a", "b", "c"].map((node) => NodeFolder.for(t, node)));
    await Promise.all(nodes.map((node) => node.join(world)));
    const { created, lastSeq } = (await world.stream.look())!;
    t.equal(lastSeq, 0);
    for (const node of nodes) {
      const { cluster } = (await node.inspect())!;
      t.match(cluster, { created, seq: 0 });
      t.same(await names(node), ["data.mdb", "lock.mdb"]);
      await sameStore(t, node, nodes[0]!);
    }
    t.equal((await world.snapshots.list()).length, 1);
  },
);

await natsTest(
  tap,
  "an empty folder gets the newest snapshot, with all in it but what came since",
  { timeoutMs },
  async (t) => {
    const { world, first } = await found(t);
    await first.publish(world, 5);
    await first.upload(world);
    await first.publish(world, 3);
    const second = await NodeFolder.for(t);
    await second.join(world);
    t.equal((await second.inspect())!.head, 5);
    await second.apply(world);
    await sameStore(t, second, first);
  },
);

await natsTest(
  tap,
  "a folder that the log goes on from is left as it is; one that it no longer does gets a snapshot",
  { timeoutMs },
  async (t) => {
    const { world, first } = await found(t);
    const second = await NodeFolder.for(t);
    await second.join(world);
    await second.publish(world, 2);
    await first.publish(world, 4);
    await first.upload(world);
    await second.join(world);
    t.equal((await second.inspect())!.head, 2, "the log goes on from there");
    await world.stream.purge(2);
    await second.join(world);
    t.equal((await second.inspect())!.head, 2, "it still does");
    await world.stream.purge(3);
    await second.join(world);
    t.equal((await second.inspect())!.head, 6);
    await sameStore(t, second, first);
  },
);

await natsTest(
  tap,
  "without a snapshot that the log goes on from, a node waits for one",
  { timeoutMs },
  async (t) => {
    const { world, first } = await found(t);
    await first.publish(world, 4);
    await world.stream.purge(3);
    const second = await NodeFolder.for(t);
    let isIn = false;
    const joining = second.join(world).then(() => (isIn = true));
    const given = new AbortController();
    const third = await NodeFolder.for(t);
    const givingUp = third.join(world, { signal: given.signal });
    given.abort(new Error("enough"));
    await t.rejects(givingUp, { message: "enough" });
    t.notOk(isIn);
    await first.upload(world);
    await joining;
    t.equal((await second.inspect())!.head, 4);
  },
);

await natsTest(tap, "a damaged snapshot is passed over for the one before", { timeoutMs }, async (t) => {
  const { world, first } = await found(t);
  await first.publish(world, 2);
  await first.upload(world);
  await first.publish(world, 2);
  await first.upload(world);
  const [newest] = await world.snapshots.list();
  const manager = await world.connection.jetstreamManager();
  const store = "OBJ_test_snapshots";
  // One chunk is gone and another in its place, so that their number is right.
  const chunks = `$O.test_snapshots.C.${newest!.object.nuid}`;
  await manager.streams.purge(store, { filter: chunks, keep: newest!.object.chunks - 1 });
  await world.connection.jetstream().publish(chunks, new Uint8Array(10));
  t.equal((await world.snapshots.list()).length, 3, "it looks whole");
  const second = await NodeFolder.for(t);
  await second.join(world);
  t.equal((await second.inspect())!.head, 2);
});

await natsTest(
  tap,
  "what is not this cluster's is refused, and is left as it was",
  { timeoutMs },
  async (t) => {
    const { world, first } = await found(t);
    const lone = await NodeFolder.for(t);
    await lone.publishAlone(3);
    const before = await digestStore(lone.path);
    await t.rejects(lone.join(world), {
      name: "FolderError",
      message: /history of its own; choose an empty folder/,
    });
    t.same(await digestStore(lone.path), before);
    t.same(await names(lone), ["data.mdb", "lock.mdb"]);

    await first.publish(world, 5);
    const manager = await world.connection.jetstreamManager();
    await manager.streams.delete("TEST");
    await t.rejects(first.join(world), { name: "FolderError", message: /not in NATS.*cluster init/ });
    await t.rejects(lone.join(world), {
      name: "FolderError",
      message: /no cluster yet.*cluster init --data/,
    });

    const other = await NodeFolder.for(t);
    await other.join(world);
    t.not((await other.inspect())!.epoch, (await first.inspect())!.epoch, "founded anew");
    await t.rejects(first.join(world), {
      name: "FolderError",
      message: /another history.*cluster init --replace/,
    });
    t.equal((await first.inspect())!.head, 5);
  },
);

await natsTest(
  tap,
  "a log that lost its end, or was restored from an older copy, is not gone on with",
  { timeoutMs },
  async (t) => {
    const { world, first } = await found(t);
    await first.publish(world, 3);
    const mark = (await first.inspect())!.cluster!;
    const move = (seq: number, time: number): Promise<void> =>
      first.with((state) => state.enterCluster({ ...mark, seq, time }));
    await move(4, mark.time + 1);
    await t.rejects(first.join(world), { name: "FolderError", message: /has applied 4 batches.*ends at 3/ });
    // NATS may tell an older end for a moment, and nothing lost.
    let joining: Promise<void> | undefined;
    await new Promise<void>((resolve, reject) => {
      const write = (line: string): void => {
        if (line.includes("looked at again")) resolve();
      };
      joining = first.join(world, { beliefMs: 60_000, logger: pino({ level: "warn" }, { write }) });
      joining.catch(reject);
    });
    await move(3, mark.time);
    await joining;
    await move(3, mark.time + 1e9);
    await t.rejects(first.join(world), { name: "FolderError", message: /batch 3 .* is another/ });
    await move(3, mark.time);
    await first.join(world);
  },
);

await natsTest(
  tap,
  "a founding that was interrupted is finished, by the same node or another",
  { timeoutMs },
  async (t) => {
    const world = await openWorld(t);
    // It made the log, and ended.
    const { created } = await world.stream.create({ replicas: 1 });
    const first = await NodeFolder.for(t);
    await first.join(world);
    t.equal((await first.inspect())!.cluster!.created, created);

    const again = await openWorld(t);
    const late = await NodeFolder.for(t);
    await late.with(async (state) => {
      // It noted that it is a node, and ended.
      const log = await again.stream.create({ replicas: 1 });
      await state.enterCluster({ created: log.created, seq: 0, time: 0, writers: {} });
    });
    const other = await NodeFolder.for(t);
    await other.join(again);
    t.not((await late.inspect())!.epoch, (await other.inspect())!.epoch);
    await late.join(again);
    await sameStore(t, late, other);
  },
);

await natsTest(
  tap,
  "a lone broker's data begins a cluster: offsets and epoch carry on; begun again, the epoch is new",
  { timeoutMs },
  async (t) => {
    const world = await openWorld(t);
    const lone = await NodeFolder.for(t);
    await lone.publishAlone(7);
    const before = await digestStore(lone.path);
    const begin = (isNewEpoch = false): Promise<unknown> =>
      beginCluster(
        { data: lone.path, node: "lone", stream: { replicas: 1 }, isNewEpoch },
        { log: world.stream, snapshots: world.snapshots, signal: never },
      );
    await begin();
    const second = await NodeFolder.for(t);
    await second.join(world);
    t.same(await digestStore(second.path), before);
    await lone.join(world);
    await second.publish(world, 1);
    t.equal((await second.inspect())!.head, 8);

    await (await world.connection.jetstreamManager()).streams.delete("TEST");
    await begin(true);
    const { epoch, head } = (await lone.inspect())!;
    t.not(epoch, before!.epoch);
    t.equal(head, 7);
    await t.rejects(second.join(world), { message: /another history/ });
    await lone.join(world);
  },
);

await natsTest(
  tap,
  "NATS that is away holds up a node without data, and not one that has some",
  { timeoutMs },
  async (t) => {
    const { world, first } = await found(t);
    await first.publish(world, 1);
    await world.nats.stop();
    await first.join(world);
    const second = await NodeFolder.for(t);
    let isIn = false;
    const joining = second.join(world).then(() => (isIn = true));
    await world.nats.start();
    t.notOk(isIn);
    await joining;
    t.equal((await second.inspect())!.cluster!.seq, 0);
  },
);

await natsTest(tap, "a folder that another broker has open is not touched", { timeoutMs }, async (t) => {
  const { world, first } = await found(t);
  await first.publish(world, 2);
  await first.upload(world);
  const second = await NodeFolder.for(t);
  const state = await State.open(second.path);
  await t.rejects(second.join(world), { name: "FolderError", message: /in use by another broker/ });
  await state.close();
  await writeFile(join(second.path, "data.mdb"), Buffer.alloc(100_000, 7));
  await t.rejects(second.join(world), { name: "FolderError", message: /not an LMDB file/ });
});
