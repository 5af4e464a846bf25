/* The NATS server that leads the log, of three, killed under load: another takes over, and nodes go on by themselves. */

import tap from "tap";

import { natsTest } from "../nats-server.ts";
import { checkRig, someAnswers, startRig } from "../rig.ts";

const kills = 2;

await natsTest(tap, "the leader of the log is killed under load", { timeoutMs: 240_000 }, async (t) => {
  const rig = await startRig(t, { servers: 3 });
  const { nats, cluster, load } = rig;
  for (let kill = 1; kill <= kills; kill++) {
    const leader = await nats.leaderOf("WHALESONG");
    await leader.kill();
    await load.answers(someAnswers);
    for (const node of cluster.nodes) await node.untilReady();
    t.not((await nats.leaderOf("WHALESONG")).name, leader.name, `${leader.name} is replaced`);
    await nats.start();
  }
  await checkRig(t, rig);
});
