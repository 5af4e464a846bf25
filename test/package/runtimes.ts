/* Runtimes: what the package is tried on, from npm's registry, kept in node_modules/.cache for the next time. */

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import tap from "tap";

import { project, root } from "./packed.ts";

/** The Node.js versions that are maintained, and the one before them that `engines` still allows. */
export const nodeMajors = [20, 22, 24] as const;
export const newestNode = 24;

const platform = `${process.platform}-${process.arch}`;

/** Package and file of each, as npm has them for this platform. */
const packages: Record<string, { spec: string; file: string }> = {
  ...Object.fromEntries(
    nodeMajors.map((major) => [
      `node${major}`,
      {
        spec: `node-${platform}@${major === 20 ? "^20.19.0" : major}`,
        file: `node_modules/node-${platform}/bin/node`,
      },
    ]),
  ),
  bun: { spec: `@oven/bun-${platform}@^1.4.0`, file: `node_modules/@oven/bun-${platform}/bin/bun` },
  npm10: { spec: "npm@10", file: "node_modules/npm/bin/npm-cli.js" },
  npm11: { spec: "npm@11", file: "node_modules/npm/bin/npm-cli.js" },
};

/** The file of a runtime, or undefined where it cannot be had: the test then says so, and fails in CI. */
export async function runtime(name: string): Promise<string | undefined> {
  const { spec, file } = packages[name] as { spec: string; file: string };
  const cache = join(root, "node_modules/.cache/whalesong-runtimes");
  const kept = join(cache, name);
  if (existsSync(join(kept, file))) return join(kept, file);
  await mkdir(cache, { recursive: true });
  // Another test may be doing the same: whoever is first puts it there.
  const made = await mkdtemp(join(cache, "new-"));
  try {
    await project(made, [spec]);
    await rename(made, kept).catch(() => undefined);
  } catch (error) {
    const missing = `${spec} cannot be installed here: ${(error as Error).message.split("\n")[0]}`;
    if (process.env["CI"] === "true") tap.fail(missing);
    else tap.pass(`skipped: ${missing}`, { skip: missing });
    return undefined;
  } finally {
    await rm(made, { recursive: true, force: true });
  }
  return join(kept, file);
}
