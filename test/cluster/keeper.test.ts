/* The keeper: what it does while it has the lease, and what is left to another when it cannot. */

import { setTimeout as sleep } from "node:timers/promises";

import tap, { type Test } from "tap";

import { Keeper, due } from "../../broker/cluster/keeper.ts";
import { Lease } from "../../broker/cluster/lease.ts";
import type { Snapshot } from "../../broker/cluster/snapshots.ts";
import { createLogger } from "../../broker/logger.ts";
import { State } from "../../broker/state/index.ts";
import { type ClusterWorld, NodeFolder, openWorld } from "./node-folder.ts";
import { natsTest } from "./nats-server.ts";

const timeoutMs = 60_000;
const logger = createLogger("silent");

interface Kept {
  keeper: Keeper;
  trims: number;
}

/** A node that keeps, over a store that nobody else writes. */
async function keep(t: Test, world: ClusterWorld, folder: NodeFolder, minFreeBytes = 0): Promise<Kept> {
  const state = await State.open(folder.path);
  const { connection, stream, snapshots } = world;
  const { node } = folder.options;
  const lease = new Lease(connection, { bucket: "test_lease", node, ttlMs: 1_500, replicas: 1, logger });
  const kept: Kept = { keeper: undefined as unknown as Keeper, trims: 0 };
  kept.keeper = new Keeper(
    {
      data: folder.path,
      node,
      everyMs: 3_600_000,
      commands: 10,
      minFreeBytes,
      trim: async () => void kept.trims++,
    },
    { state, lease, stream, snapshots, logger },
  );
  t.teardown(async () => {
    await kept.keeper.close();
    await state.close();
  });
  return kept;
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await sleep(20);
}

await natsTest(
  tap,
  "a keeper without room for a copy leaves the lease to a node that has it; only a keeper trims",
  { timeoutMs },
  async (t) => {
    const world = await openWorld(t);
    const [full, roomy] = [await NodeFolder.for(t, "full"), await NodeFolder.for(t, "roomy")];
    await full.join(world);
    await roomy.join(world);
    await full.publish(world, 12);
    await roomy.apply(world);
    const first = await keep(t, world, full, Number.MAX_SAFE_INTEGER);
    await until(() => first.trims > 0);
    const second = await keep(t, world, roomy);
    t.equal(second.trims, 0);
    await until(async () => (await world.snapshots.list()).some(({ seq }) => seq === 12));
    t.equal((await world.snapshots.list())[0]!.node, "roomy");
    t.ok(second.keeper.isKeeper);
    t.notOk(first.keeper.isKeeper);
    const { trims } = first;
    await until(() => second.trims > 1);
    t.equal(first.trims, trims);
  },
);

await natsTest(
  tap,
  "a keeper whose log is another than NATS has keeps its hands off",
  { timeoutMs },
  async (t) => {
    const world = await openWorld(t);
    const node = await NodeFolder.for(t);
    await node.join(world);
    await node.publish(world, 20);
    await (await world.connection.jetstreamManager()).streams.delete("TEST");
    await world.stream.create({ replicas: 1 });
    const before = await world.snapshots.list();
    const kept = await keep(t, world, node);
    await until(() => kept.trims > 2); // it looks as often as it trims
    t.same(await world.snapshots.list(), before);
  },
);

await tap.test(
  "a snapshot is due by time, by commands, and when the log does not go on from the newest",
  async (t) => {
    const newest = { seq: 100, offset: 1_000, at: 5_000 } as Snapshot;
    const usual = {
      log: { created: "then", firstSeq: 50, lastSeq: 200 },
      newest,
      seq: 150,
      offset: 1_100,
      now: 6_000,
      everyMs: 2_000,
      commands: 500,
    };
    t.equal(due(usual), undefined);
    t.match(due({ ...usual, newest: undefined }), /there is none/);
    t.match(due({ ...usual, offset: 1_500 }), /500 commands came/);
    t.match(due({ ...usual, now: 7_000 }), /2 s old/);
    t.equal(due({ ...usual, now: 7_000, offset: 1_000 }), undefined, "nothing came");
    t.equal(due({ ...usual, now: 1e9, seq: 100 }), undefined, "this node has not more than it");
    t.equal(due({ ...usual, log: { ...usual.log, firstSeq: 101 } }), undefined);
    t.match(due({ ...usual, log: { ...usual.log, firstSeq: 102 } }), /no longer goes on/);
  },
);
