/* The broker asks what the wall clock says only where that is what is meant: for the time of commands, which `Clock` watches over, for the
 * expiry of tokens, and where a time is shown. What lasts, times out or is rated counts by a clock that nobody sets. */

import { readFile, readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

import tap from "tap";

const broker = fileURLToPath(new URL("../broker", import.meta.url));

/** Files that ask, and why they may. */
const mayAsk: Record<string, string> = {
  "log/clock.ts": "it is the clock",
  "log/local.ts": "a log without a clock, in tests",
  "cluster/sender.ts": "a sender without a clock, in tests",
  "core.ts": "an operator says that the clock is right",
  "front.ts": "sessions: expiry of tokens, and what a ping is answered",
  "sessions/token-authenticator.ts": "expiry of tokens",
  "cluster/cluster.ts": "when a node started, as it is shown",
  "cluster/commands.ts": "how long ago things were, as they are shown",
  "cluster/objects.ts": "when an object was stored, as it is shown",
  "cluster/snapshots.ts": "when a snapshot was made, as it is shown",
  "backup/backup.ts": "when a backup was made, as it is shown",
  "cluster/keeper.ts": "how old another node's snapshot is, or longer",
};

await tap.test("nothing counts by the wall clock that is not meant to", async (t) => {
  const asking: string[] = [];
  for (const file of await readdir(broker, { recursive: true })) {
    if (!file.endsWith(".ts")) continue;
    const text = await readFile(join(broker, file), "utf8");
    const code = text.replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, "");
    if (/\bDate\.now\b|new Date\(\)/.test(code)) asking.push(file);
  }
  t.same(asking.toSorted(), Object.keys(mayAsk).toSorted());
});
