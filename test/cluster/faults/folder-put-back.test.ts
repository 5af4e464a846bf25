/* A node whose folder is replaced by an older copy of it catches up from the cluster's log, or begins from a snapshot, and keeps the cluster's epoch. */

import { cp, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import tap from "tap";

import { inspectStore } from "../../../broker/state/inspect.ts";
import { natsTest } from "../nats-server.ts";
import { checkRig, someAnswers, startRig } from "../rig.ts";

await natsTest(
  tap,
  "a node's folder is put back to an earlier copy, in its place and over its files, under load",
  { timeoutMs: 240_000 },
  async (t) => {
    const rig = await startRig(t);
    const { cluster, load } = rig;
    const node = cluster.nodes[2]!;
    const copy = `${node.folder}.copy`;
    const waysBack = [
      async () => {
        await rm(node.folder, { recursive: true });
        await rename(copy, node.folder);
      },
      () => cp(join(copy, "data.mdb"), join(node.folder, "data.mdb")),
    ];
    for (const putBack of waysBack) {
      await node.stop();
      await cp(node.folder, copy, { recursive: true, force: true });
      const { epoch } = (await inspectStore(copy))!;
      await node.start();
      await node.untilReady();
      await load.answers(someAnswers);
      await node.kill();
      await putBack();
      await node.start();
      await node.untilReady();
      t.equal((await inspectStore(node.folder))!.epoch, epoch);
    }
    t.notMatch(node.log, /new epoch/);
    await checkRig(t, rig);
  },
);
