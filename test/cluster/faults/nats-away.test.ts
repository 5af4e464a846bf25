/* All of NATS away: nodes say that they are not ready and refuse writes for now; reading and live sessions go on; and when it is back,
 * so are they. */

import tap, { type Test } from "tap";

import { natsTest } from "../nats-server.ts";
import { type Rig, checkReadsOnly, checkRig, startRig } from "../rig.ts";

await natsTest(tap, "the one NATS server is stopped and started", { timeoutMs: 240_000 }, async (t) => {
  const rig = await startRig(t);
  await goAway(t, rig, () => rig.nats.stop());
  await checkRig(t, rig, { refused: rig.cluster.nodes });
});

await natsTest(tap, "all three NATS servers are killed and started", { timeoutMs: 240_000 }, async (t) => {
  const rig = await startRig(t, { servers: 3 });
  await goAway(t, rig, () => rig.nats.kill());
  await checkRig(t, rig, { refused: rig.cluster.nodes });
});

async function goAway(
  t: Test,
  { nats, cluster, load, truth }: Rig,
  away: () => Promise<void>,
): Promise<void> {
  await away();
  for (const node of cluster.nodes) await node.untilUnready(/NATS/); // each says why
  const { answers } = load.told;
  for (const node of cluster.nodes) await checkReadsOnly(t, node, { code: "unavailable" });
  for (const node of cluster.nodes) await truth.untilRefused(node);
  t.equal(load.told.answers, answers, "nobody is told that a write was done");
  await nats.start();
}
