/* A node that stands still for a minute (SIGSTOP), as on a machine that is out of memory or moved: others go on without it, and it
 * goes on where it was, by itself. */

import { setTimeout as sleep } from "node:timers/promises";

import tap from "tap";

import { natsTest } from "../nats-server.ts";
import { checkRig, someAnswers, startRig } from "../rig.ts";

/** Longer than NATS keeps a reader that says nothing. */
const pauseMs = 65_000;

await natsTest(tap, "a node is paused for a minute under load", { timeoutMs: 300_000 }, async (t) => {
  const rig = await startRig(t);
  const { cluster, load } = rig;
  const [node] = cluster.nodes;
  node!.pause();
  await Promise.all([sleep(pauseMs), load.answers(someAnswers)]);
  node!.resume();
  await checkRig(t, rig);
});
