/* Version: the package's, from its package.json, which lies above the sources and above what is built from them. */

import { readFileSync } from "node:fs";

export function packageVersion(): string {
  for (const up of ["../package.json", "../../package.json"]) {
    try {
      const text = readFileSync(new URL(up, import.meta.url), "utf8");
      const { name, version } = JSON.parse(text) as { name: string; version: string };
      if (name === "whalesong") return version;
    } catch {
      // not here: one level up
    }
  }
  return "unknown";
}
