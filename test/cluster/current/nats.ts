/* A current nats-server for tests that run once more with it, besides the one that is installed. test/setup/current-nats.sh builds it where there is Go. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Test } from "tap";

import { askProgram } from "../../../bench/targets/programs.ts";

const script = fileURLToPath(new URL("../../setup/current-nats.sh", import.meta.url));

/**
 * Imports each file of tests, one after the other, with the current server first in PATH. Where there is no Go, and so no current server, nothing is run
 * and the output says so; where there is Go and no server, the test fails.
 */
export async function againWithCurrentNats(tap: Test, files: readonly string[]): Promise<void> {
  const { stdout } = spawnSync("sh", [script, "--path"], { encoding: "utf8" });
  const program = stdout.trim();
  if (!existsSync(program)) {
    if (hasGo()) tap.fail(`there is Go and no ${program}: sh test/setup/current-nats.sh builds it`);
    else tap.pass("there is no Go here: nothing was run again with a current nats-server");
    return;
  }
  process.env["PATH"] = `${dirname(program)}:${process.env["PATH"] ?? ""}`;
  const version = askProgram("nats-server", ["--version"], /v([\d.]+)/);
  tap.ok(isAtLeast(version, 2, 12), `nats-server ${version}`);
  for (const file of files) await import(new URL(`../${file}`, import.meta.url).href);
}

function hasGo(): boolean {
  const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/local/go/bin"];
  return folders.some((folder) => existsSync(join(folder, "go")));
}

function isAtLeast(version: string | undefined, major: number, minor: number): boolean {
  const [first = 0, second = 0] = (version ?? "").split(".").map(Number);
  return first > major || (first === major && second >= minor);
}
