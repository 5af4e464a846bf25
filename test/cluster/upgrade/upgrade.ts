/* Upgrade: a cluster of 0.1.0 under load, and what turns its nodes into nodes of this version. Half of the clients have 0.1.0's SDK, and
 * what is published names users and tags in many scripts. */

import type { Test } from "tap";

import { connect } from "../../../clients/node/index.ts";
import { connect as connectOld } from "../../old/client-0.1.0.mjs";
import { oldLaunch } from "../../old/old.ts";
import { scripts } from "../../old/scripts.ts";
import type { ClusterNode } from "../broker-process.ts";
import { type Rig, type RigOptions, checkRig, startRig } from "../rig.ts";

/** The level of 0.1.0, and that of this version. */
export const oldLevel = 1;
export const level = 2;

export function startOldRig(t: Test, options: Pick<RigOptions, "flags"> = {}): Promise<Rig> {
  return startRig(t, { ...options, launch: oldLaunch, connects: [connect, connectOld], names: scripts });
}

/** Starts a node again with this version; it keeps its folder and its port. */
export async function upgrade(node: ClusterNode): Promise<void> {
  await node.stop();
  await node.start({ launch: {} });
  await node.untilReady();
}

/** All nodes are of this version: waits until the level is raised, and checks everything. Nothing may have been refused but what was to be sent again
 *  since the level was just being raised, and nobody may have met a batch that they did not know. */
export async function checkUpgraded(t: Test, rig: Rig): Promise<void> {
  for (const node of rig.cluster.nodes) await node.untilLevel(level);
  await checkRig(t, rig);
  for (const { name, log } of rig.cluster.nodes)
    t.notMatch(log, /cannot be applied/, `${name} never stopped`);
  // 0.1.0's SDK does not know the code, and calls it `internal`.
  const others = [...rig.load.refusals].filter(
    (refusal) => !/^(not_yet|internal): .*send it again/.test(refusal),
  );
  t.same(others, [], "nothing was refused but `not_yet`");
}
