/* A node killed with SIGKILL under load: the others go on, its readers come back to it or go elsewhere, and when it is started again
 * it has what it had answered and catches up. */

import tap from "tap";

import { natsTest } from "../nats-server.ts";
import { checkRig, someAnswers, startRig } from "../rig.ts";

await natsTest(tap, "each node in turn is killed under load", { timeoutMs: 240_000 }, async (t) => {
  const rig = await startRig(t);
  const { cluster, load } = rig;
  for (const node of cluster.nodes) {
    await node.kill();
    await load.answers(someAnswers);
    await node.start();
    await node.untilReady();
    await load.answers(someAnswers);
  }
  await checkRig(t, rig);
});

await natsTest(tap, "all nodes are killed at once, and started again", { timeoutMs: 240_000 }, async (t) => {
  const rig = await startRig(t);
  const { cluster } = rig;
  await Promise.all(cluster.nodes.map((node) => node.kill()));
  await cluster.start();
  await checkRig(t, rig);
});
