/* Faults one after another, and at the same time, at random: nodes killed, stopped and paused, NATS servers killed and, where they bear it, paused.
 * WHALESONG_CHAOS is for how many seconds (30), WHALESONG_SEED repeats the choice. Whatever came, all is well once it is over. */

import { setTimeout as sleep } from "node:timers/promises";

import tap, { type Test } from "tap";

import { Random } from "../../model/random.ts";
import { bearsPauses, natsTest } from "../nats-server.ts";
import { type Rig, checkRig, startRig } from "../rig.ts";

const chaosMs = 1_000 * Number(process.env["WHALESONG_CHAOS"] ?? 30);
/** The longest that one fault lasts, and the longest rest between two. */
const faultMs = 6_000;
const restMs = 3_000;

await natsTest(
  tap,
  "whatever is broken, in whatever order, is whole at the end",
  { timeoutMs: 240_000 + chaosMs },
  async (t) => {
    const random = Random.seeded();
    const rig = await startRig(t, { servers: 3 });
    const end = Date.now() + chaosMs;
    await Promise.all([breakNodes(t, rig, random.fork(), end), breakNats(t, rig, random.fork(), end)]);
    await rig.nats.start();
    await checkRig(t, rig);
  },
);

/** One node at a time. */
async function breakNodes(t: Test, { cluster }: Rig, random: Random, end: number): Promise<void> {
  while (Date.now() < end) {
    const node = random.pick(cluster.nodes);
    const how = random.pick(["kill", "stop", "pause"] as const);
    const ms = random.below(faultMs);
    t.comment(`${how} ${node.name} for ${ms} ms`);
    if (how === "pause") node.pause();
    else await node[how]();
    await sleep(ms);
    if (how === "pause") node.resume();
    else await node.start();
    await sleep(random.below(restMs));
  }
}

/** One server at a time, so that two of three are there; now and then all. */
async function breakNats(t: Test, { nats }: Rig, random: Random, end: number): Promise<void> {
  const pauses = bearsPauses() ? 0.5 : 0;
  while (Date.now() < end) {
    await sleep(random.below(restMs));
    const servers = random.chance(0.15) ? nats.servers : [random.pick(nats.servers)];
    const isPause = random.chance(pauses);
    const ms = random.below(faultMs);
    t.comment(`${isPause ? "pause" : "kill"} ${servers.map(({ name }) => name).join(", ")} for ${ms} ms`);
    for (const server of servers) {
      if (isPause) server.pause();
      else await server.kill();
    }
    await sleep(ms);
    for (const server of servers) {
      if (isPause) server.resume();
      else server.start();
    }
  }
}
