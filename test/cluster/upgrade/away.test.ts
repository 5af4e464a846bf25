/* A node of 0.1.0 that is away while all others are upgraded: it holds the level back until it is forgotten. When it comes all the same it applies
 * nothing that it does not know, says so, and is whole once it is upgraded. */

import tap from "tap";

import { whalesong } from "../../cli/whalesong.ts";
import { done } from "../../old/folder.ts";
import type { ClusterNode } from "../broker-process.ts";
import { natsTest } from "../nats-server.ts";
import { reportsOf } from "../reports.ts";
import { checkReadsOnly, checkRig, someAnswers } from "../rig.ts";
import { level, oldLevel, startOldRig, upgrade } from "./upgrade.ts";

await natsTest(
  tap,
  "an old node that is away holds the level back until it is forgotten; when it comes it stops at the first newer batch",
  { timeoutMs: 180_000 },
  async (t) => {
    const rig = await startOldRig(t);
    const { cluster, load, nats } = rig;
    const [first, second, third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    const untilReport = await reportsOf(t, nats);
    // The register knows it by a node that has heard it.
    await upgrade(first);
    await untilReport(({ register }) => register?.some(({ node }) => node === third.name) === true);
    await third.stop();
    await upgrade(second);

    const { next, level: before } = await untilReport(
      ({ next: held }) => held?.heldBackBy.length === 1 && held.keeper?.includes("does not answer") === true,
    );
    t.match(next!.heldBackBy, [{ node: third.name, newest: oldLevel, answers: false }]);
    t.equal(before, oldLevel);
    await load.answers(someAnswers);
    for (const node of [first, second]) t.equal(await node.level(), oldLevel, `${node.name} waits for it`);

    await done(whalesong(["cluster", "forget", third.name, "--nats", nats.urls]));
    for (const node of [first, second]) await node.untilLevel(level);
    await load.answers(someAnswers);

    for (const time of ["when it comes", "and again when it is started again"]) {
      await third.start();
      const reason = await third.untilUnready(/command format/);
      t.match(reason, /command format 3, this node reads up to 2: upgrade this node/, `it says so ${time}`);
      await checkReadsOnly(t, third, { code: "unavailable" });
      t.equal(await third.level(), oldLevel, "and has applied nothing of it");
      await third.stop();
    }
    await third.start({ launch: {} });
    await third.untilReady();
    t.equal(await third.level(), level);
    await checkRig(t, rig, { refused: [third] });
  },
);
