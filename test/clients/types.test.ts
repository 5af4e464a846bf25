import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import tap from "tap";

const root = fileURLToPath(new URL("../..", import.meta.url));

for (const [what, project] of [
  ["events, requests and errors are typed as users rely on", "test/clients/types"],
  ["clients/core compiles with neither Node's nor the DOM's types", "clients/core"],
  ["clients/browser compiles without Node's types", "clients/browser"],
] as const) {
  await tap.test(what, async (t) => {
    const { status, stdout, stderr, error } = spawnSync(
      process.execPath,
      ["node_modules/typescript/lib/tsc.js", "-p", project, "--noEmit"],
      { cwd: root, encoding: "utf8" },
    );
    t.equal(error, undefined);
    t.equal(status, 0, stdout + stderr);
  });
}
