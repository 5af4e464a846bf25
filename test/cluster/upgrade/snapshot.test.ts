/* A cluster that 0.1.0 has begun with its folder. Nodes of this version begin from the snapshot that it made, raise the level, and make snapshots
 * of their own; each answers what 0.1.0 answered, and so does the node that had the folder, which comes last. */

import { rm } from "node:fs/promises";

import tap from "tap";

import { accountOfOld, differences, differencesBehindCursors } from "../../old/answers.ts";
import { oldFolder } from "../../old/folder.ts";
import { oldWhalesong } from "../../old/old.ts";
import { Cluster, type ClusterNode } from "../broker-process.ts";
import { NatsServers, natsTest } from "../nats-server.ts";
import { reportsOf } from "../reports.ts";
import { level } from "./upgrade.ts";

await natsTest(
  tap,
  "nodes that begin from a snapshot of 0.1.0, or have its folder, are raised and answer as it did",
  { timeoutMs: 180_000 },
  async (t) => {
    const account = accountOfOld();
    const check = async ({ name, url }: ClusterNode): Promise<void> => {
      t.same(await differences(url, account, account.answers), [], `${name} answers as 0.1.0 did`);
      const behind = await differencesBehindCursors(url, account);
      t.same(behind, [], `who comes to ${name} goes on where they were`);
    };
    const nats = await NatsServers.for(t);
    const untilReport = await reportsOf(t, nats);
    const cluster = await Cluster.for(t, {
      nats: nats.urls,
      nodes: 2,
      flags: ["--snapshot-commands", "10"],
      async prepare([, second]) {
        await oldWhalesong("restore", oldFolder, "--data", second!.folder, "--same-epoch");
        await oldWhalesong("cluster", "init", "--data", second!.folder, "--nats", nats.urls);
        const { snapshots } = await untilReport(() => true);
        t.match(snapshots, [{ format: 2, version: "0.1.0" }]);
      },
    });
    const [first, second] = cluster.nodes as [ClusterNode, ClusterNode];
    t.match(first.log, /"a snapshot is loaded"/);
    t.notMatch(second.log, /"a snapshot is loaded"/);
    for (const node of cluster.nodes) await node.untilLevel(level);
    for (const node of cluster.nodes) await check(node);

    // What no stream shows.
    for (let i = 0; i < 30; i++)
      await fetch(`${first.url}/v1/users/somebody/follows/other-${i}?user=somebody`, { method: "PUT" });
    await untilReport(
      ({ snapshots }) => snapshots.length === 2 && snapshots.every(({ format }) => format === 3),
    );
    await second.stop();
    await rm(second.folder, { recursive: true });
    await second.start();
    await second.untilReady();
    t.match(second.log, /"a snapshot is loaded"/, "now it begins from one of this version");
    await check(second);
    await cluster.checkAgreement(t);
  },
);
