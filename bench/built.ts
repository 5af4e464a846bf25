/* Built: scripts run as they are built where that is as new as the sources, and from the sources otherwise. */

import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const isSource = import.meta.url.endsWith(".ts");
/** The folder that holds bench/ as it runs: of the sources, or of what is built. */
const running = join(dirname(fileURLToPath(import.meta.url)), "..");
const built = isSource ? join(running, "dist") : running;

/** Whether children run compiled. */
export const isCompiled = !isSource || isBuiltNewer(running);

/** How to run a script with Node.js, named by its path without its ending: "broker/main". */
export function locate(script: string): { file: string; loader: readonly string[] } {
  if (isCompiled) return { file: join(built, `${script}.js`), loader: [] };
  return { file: join(running, `${script}.ts`), loader: process.execArgv };
}

/** Whether what is built is as new as every source of it. */
function isBuiltNewer(root: string): boolean {
  const builtMs = statSync(join(built, "bench", "broker-process.js"), { throwIfNoEntry: false })?.mtimeMs;
  if (builtMs === undefined) return false;
  for (const folder of ["broker", "protocol", "clients", "bench"]) {
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
      if (name.endsWith(".ts") && statSync(join(root, folder, name)).mtimeMs > builtMs) return false;
    }
  }
  return true;
}
