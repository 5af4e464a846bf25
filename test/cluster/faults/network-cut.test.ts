/* A node cut off from NATS, while its clients still reach it: it notices by itself though nobody hangs up, says that it is not ready and
 * refuses writes; its readers keep their sessions; and when the cable is back it catches up. */

import tap from "tap";

import { secret, tokenFor } from "../../transports/server.ts";
import { Namespace } from "../namespace.ts";
import { natsTest } from "../nats-server.ts";
import { checkReadsOnly, checkRig, someAnswers, startRig } from "../rig.ts";

const scope = "read write firehose";
const tokenOf = (user: string): Promise<string> => tokenFor(user, { scope });

await natsTest(tap, "a node is cut off from NATS and comes back", { timeoutMs: 300_000 }, async (t) => {
  const namespace = Namespace.make(t);
  if (namespace === undefined) {
    const why = "needs the right to make a network namespace: run the tests as root, with iproute2";
    if (process.env["CI"] === "true") t.fail(why);
    else t.pass(`skipped: ${why}`, { skip: why });
    return;
  }
  // Tokens are asked for, since a node that asks for none listens on loopback alone.
  const rig = await startRig(t, {
    natsHost: namespace.ours,
    flags: ["--auth-secret", secret],
    tokenOf,
    last: { host: namespace.address, launch: { by: namespace.by } },
  });
  const { cluster, load, truth } = rig;
  const [other, , away] = cluster.nodes;
  namespace.cut();
  await away!.untilUnready(/NATS/); // it says why
  await checkReadsOnly(t, away!, { code: "unavailable", token: await tokenOf("reader") });
  await load.answers(someAnswers);
  t.match(await other!.readiness(), { isReady: true }, "others do not notice");
  t.match(await away!.readiness(), { isReady: false });
  await truth.untilRefused(away!);
  namespace.heal();
  await checkRig(t, rig, { refused: [away!] });
});
