/* NewerBroker: the broker of these sources with a command format that is one ahead: what an upgrade brings. */

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Test } from "tap";

import { batchFormat } from "../../broker/cluster/batch.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Copies the sources and changes the one constant. The path of its `main.ts`; gone when the test ends. */
export function makeNewerBroker(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), "whalesong-newer-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const part of ["package.json", "tsconfig.json", "protocol", "broker", "clients", "bench"])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const file = join(folder, "broker/cluster/batch.ts");
  const before = `export const batchFormat = ${batchFormat};`;
  const text = readFileSync(file, "utf8");
  if (!text.includes(before)) throw new Error(`${file} has no "${before}"`);
  writeFileSync(file, text.replace(before, `export const batchFormat = ${batchFormat + 1};`));
  return join(folder, "broker/main.ts");
}
