/* Machine: on what a run was measured. */

import { readFileSync, realpathSync } from "node:fs";
import { availableParallelism, cpus, loadavg, platform, release, totalmem } from "node:os";

import { isCompiled } from "./built.ts";

export interface Machine {
  cpu: string;
  cores: number;
  memoryGib: number;
  system: string;
  node: string;
  /** The file system of the data folder; `unknown` where that is not told. */
  fileSystem: string;
  /** Open files that a process may have. */
  openFiles: number;
  /** Processes that wanted to run in the last minute before the run: near 0 on a quiet machine. */
  loadBefore: number;
  /** Whether the broker ran compiled, or from its sources. */
  broker: "compiled" | "from sources";
}

export function describeMachine(folder: string): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()}`,
    node: process.version,
    fileSystem: fileSystemOf(folder),
    openFiles: openFileLimit(),
    loadBefore: Math.round(loadavg()[0]! * 100) / 100,
    broker: isCompiled ? "compiled" : "from sources",
  };
}

/** Open files that this process and its children may have. Node.js has raised it to the hard limit when it started. */
export function openFileLimit(): number {
  const report = process.report.getReport() as {
    userLimits?: { open_files?: { hard?: number | "unlimited" } };
  };
  const hard = report.userLimits?.open_files?.hard;
  return typeof hard === "number" ? hard : Number.MAX_SAFE_INTEGER;
}

/** From the list of mounts: the one with the longest path above the folder. */
function fileSystemOf(folder: string): string {
  const path = realpathSync(folder);
  let [longest, type] = [-1, "unknown"];
  for (const line of mounts().split("\n")) {
    const [, at, kind] = line.split(" ");
    if (at === undefined || kind === undefined || at.length < longest) continue;
    if (at === "/" || path === at || path.startsWith(`${at}/`)) [longest, type] = [at.length, kind];
  }
  return type;
}

function mounts(): string {
  try {
    return readFileSync("/proc/self/mounts", "utf8");
  } catch {
    return "";
  }
}
