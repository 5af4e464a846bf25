/* An upgrade from 0.1.0 that stops half-way: one node is of this version, two are not, for longer than the log is kept. So each version loads
 * snapshots that the other has made, and each is the keeper for a while. */

import { rm } from "node:fs/promises";

import tap from "tap";

import type { ClusterNode } from "../broker-process.ts";
import { natsTest } from "../nats-server.ts";
import { reportsOf } from "../reports.ts";
import { someAnswers } from "../rig.ts";
import { checkUpgraded, oldLevel, startOldRig, upgrade } from "./upgrade.ts";

await natsTest(
  tap,
  "an upgrade that stops half-way while both versions make and load snapshots, and goes on",
  { timeoutMs: 180_000 },
  async (t) => {
    const rig = await startOldRig(t, { flags: ["--snapshot-commands", "150"] });
    const { cluster, load, nats } = rig;
    const [first, second, third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    const untilReport = await reportsOf(t, nats);
    /** Both snapshots that there are were made from now on, by nodes of this version, and the log begins behind the older. */
    const untilSnapshotsOf = async (version: string): Promise<void> => {
      const { log } = await untilReport(() => true);
      await untilReport(
        (report) =>
          report.snapshots.length === 2 &&
          report.snapshots.every((one) => one.version === version && one.seq > log!.lastSeq) &&
          report.log!.firstSeq > log!.lastSeq,
      );
    };
    /** Its folder is gone: it begins from a snapshot. */
    const beginAgain = async (
      node: ClusterNode,
      start: Parameters<ClusterNode["start"]>[0],
    ): Promise<void> => {
      await node.stop();
      await rm(node.folder, { recursive: true });
      await node.start(start);
      await node.untilReady();
      t.match(node.log, /"a snapshot is loaded"/, `${node.name} begins from a snapshot`);
    };

    const { version: oldVersion } = (await untilReport(({ nodes }) => nodes.length === 3)).nodes[0]!;
    await upgrade(first);
    const { nodes } = await untilReport((report) => report.nodes.length === 3);
    const { version } = nodes.find(({ node }) => node === first.name)!;
    t.not(version, oldVersion);

    // It was not the keeper any more when it was stopped.
    await untilSnapshotsOf(oldVersion);
    await beginAgain(first, { launch: {} });
    await load.answers(someAnswers);

    await Promise.all([second.stop(), third.stop()]);
    await untilReport((report) => report.nodes.some(({ node, isKeeper }) => node === first.name && isKeeper));
    await Promise.all([second.start(), third.start()]);
    await Promise.all([second.untilReady(), third.untilReady()]);
    await untilSnapshotsOf(version);
    await beginAgain(third, {});
    await load.answers(someAnswers);
    for (const node of cluster.nodes) t.equal(await node.level(), oldLevel, `${node.name} is not raised yet`);

    await upgrade(second);
    await load.answers(someAnswers);
    await upgrade(third);
    await checkUpgraded(t, rig);
  },
);
