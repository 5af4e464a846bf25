/* The package as its users get it: packed from what is built, and installed into an empty folder. */

import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import tap from "tap";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** As a user would run it: without what npm tells its scripts. */
export const environment: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name !== "NODE_OPTIONS" && !name.startsWith("npm_")),
);

/** A broker within a program, and two clients of it. Prints what one sees of the other. */
export const embedded = `
  import { Broker } from "whalesong";
  import { connect } from "whalesong/client";
  const broker = await Broker.start({ port: 0, data: "./embedded-data", logLevel: "warn" });
  const bob = await connect(broker.url, { user: "bob", device: "test" });
  await bob.follow("alice");
  const home = bob.stream("home");
  const alice = await connect(broker.url, { user: "alice" });
  await alice.post("hello @bob");
  for await (const event of home) {
    if (event.event !== "post") continue;
    console.log(event.post.author, event.post.text, event.post.mentions.join());
    break;
  }
  await alice.close();
  await bob.close();
  await broker.stop(0);`;

export interface Ran {
  stdout: string;
  stderr: string;
}

export function run(
  file: string,
  args: readonly string[],
  options: { cwd: string; env?: NodeJS.ProcessEnv },
): Promise<Ran> {
  return promisify(execFile)(file, args, {
    env: environment,
    maxBuffer: 64 * 1024 * 1024,
    ...options,
  });
}

/** A program that goes on; what it says on standard error is seen. */
export function start(
  file: string,
  args: readonly string[],
  options: { cwd: string; env?: NodeJS.ProcessEnv; detached?: boolean },
): ChildProcessByStdio<null, Readable, null> {
  return spawn(file, args, {
    env: environment,
    stdio: ["ignore", "pipe", "inherit"],
    ...options,
  });
}

/** A folder of this test file's own. */
export async function folderOfTest(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-package-"));
  tap.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Packs what `npm run build` left; the tarball's path. */
export async function pack(folder: string): Promise<string> {
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: root,
  });
  return join(folder, filenameOf(stdout));
}

/** npm's answer to `pack --json`: an array of results, or in newer ones a map of them by name. */
export function filenameOf(json: string): string {
  const [{ filename }] = Object.values(JSON.parse(json) as object) as [{ filename: string }];
  return filename;
}

/** Makes a project and installs `packages` into it; what npm said. */
export async function project(
  folder: string,
  packages: readonly string[],
  options: {
    type?: "module" | "commonjs";
    npm?: readonly [string, ...string[]];
    env?: NodeJS.ProcessEnv;
  } = {},
): Promise<Ran> {
  const { type = "module", npm = ["npm"], env = environment } = options;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type }));
  const [command, ...before] = npm;
  const args = ["install", "--no-audit", "--no-fund", "--prefer-offline", "--engine-strict", ...packages];
  return run(command, [...before, ...args], { cwd: folder, env });
}
