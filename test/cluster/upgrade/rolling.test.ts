/* A rolling upgrade from 0.1.0: its nodes become nodes of this version one after the other, under load, by clients that know all of them and do
 * nothing about it. */

import tap from "tap";

import { natsTest } from "../nats-server.ts";
import { someAnswers } from "../rig.ts";
import { checkUpgraded, oldLevel, startOldRig, upgrade } from "./upgrade.ts";

await natsTest(
  tap,
  "three nodes of 0.1.0 are upgraded in turn: nothing is refused, missed, repeated or out of order, and the level is raised",
  { timeoutMs: 180_000 },
  async (t) => {
    const rig = await startOldRig(t);
    const { cluster, load } = rig;
    for (const node of cluster.nodes) {
      for (const other of cluster.nodes)
        t.equal(await other.level(), oldLevel, `${other.name} is not raised yet`);
      await upgrade(node);
      await load.answers(someAnswers);
    }
    await checkUpgraded(t, rig);
  },
);
