/* A disk full on one node: it says that it is not ready and refuses writes; reading there goes on, and so does all at the others; and
 * when there is room again it catches up by itself. */

import { join } from "node:path";

import tap from "tap";

import { connect } from "../../../clients/node/index.ts";
import { natsTest } from "../nats-server.ts";
import { checkReadsOnly, checkRig, someAnswers, startRig } from "../rig.ts";
import { SmallDisk } from "../small-disk.ts";

const diskBytes = 64 * 1024 * 1024;
/** Room for a few commits. */
const leftBytes = 256 * 1024;
const filler = "x".repeat(4_000);

await natsTest(tap, "one node's disk is full for a while", { timeoutMs: 240_000 }, async (t) => {
  const disk = SmallDisk.mount(t, diskBytes);
  if (disk === undefined) {
    const why = "needs the right to mount a tmpfs: run the tests as root";
    if (process.env["CI"] === "true") t.fail(why);
    else t.pass(`skipped: ${why}`, { skip: why });
    return;
  }
  const rig = await startRig(t, {
    flags: ["--min-free-bytes", "0"],
    last: { folder: join(disk.folder, "data") },
  });
  const { cluster, load, truth } = rig;
  const [first, , last] = cluster.nodes;
  disk.fill(leftBytes);
  const author = await connect(first!.url, { user: "author", device: "filler" });
  t.teardown(() => author.close());
  while ((await last!.readiness())?.isReady !== false) await author.post(filler);
  await author.close();
  await last!.untilUnready(/space|ENOSPC|full/i); // it says why
  await checkReadsOnly(t, last!, { code: "storage_full" });
  await load.answers(someAnswers);
  t.notOk((await last!.readiness())?.isReady);
  await truth.untilRefused(last!);
  disk.relieve();
  await checkRig(t, rig, { refused: [last!] });
});
