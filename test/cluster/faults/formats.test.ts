/* Nodes of different versions: one that meets commands of a newer format stops applying, says so, and is whole once it is upgraded.
 * Nobody applies what it cannot know, and nobody applies something else instead. */

import tap from "tap";

import { makeNewerBroker } from "../newer-broker.ts";
import { natsTest } from "../nats-server.ts";
import { checkReadsOnly, checkRig, someAnswers, startRig } from "../rig.ts";

await natsTest(
  tap,
  "a cluster is upgraded node by node, over a newer command format",
  { timeoutMs: 240_000 },
  async (t) => {
    const rig = await startRig(t);
    const { cluster, load } = rig;
    const [first, second, third] = cluster.nodes;
    const launch = { main: makeNewerBroker(t) };

    await third!.stop();
    await third!.start({ launch });
    await third!.untilReady();
    await third!.post("of a newer format");
    for (const node of [first!, second!]) {
      t.match(await node.untilUnready(/format/), /upgrade this node/, `${node.name} says what to do`);
      await checkReadsOnly(t, node, { code: "unavailable" });
      const page = await fetch(`${node.url}/v1/streams/user%3Amarker?user=reader`);
      t.equal(page.status, 404, "of a newer command it has applied nothing");
    }
    await third!.untilReady();

    await first!.stop();
    await first!.start();
    t.match(
      await first!.untilUnready(/format/),
      /upgrade this node/,
      "started again as it was it says so, too",
    );

    for (const node of [first!, second!]) {
      await node.stop();
      await node.start({ launch });
      await node.untilReady();
      await load.answers(someAnswers);
    }
    await checkRig(t, rig, { refused: [first!, second!] });
  },
);
