/* Open files: how many connections this process can hold.
 *
 * Each connection is an open file, and so is all else that a process must go on opening: the store, keys, the pipes of a worker
 * that replaces another. A process that is out of them can do none of that, so connections get what is left beside a reserve. */

import { readFileSync } from "node:fs";

import type { Excess } from "./transports/admission.ts";

/** Files for everything that is no client's connection. */
const reserve = 128;
/** The pipes of one worker, at this process's end, and as many while another takes its place. */
const perWorker = 8;

/** How many files this process may have open; Infinity where the system names no limit. */
export function openFileLimit(): number {
  try {
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    if (soft !== undefined) return soft === "unlimited" ? Infinity : Number(soft);
  } catch {
    // Only Linux has this file.
  }
  const { userLimits } = process.report.getReport() as {
    userLimits?: { open_files?: { soft?: number | string } };
  };
  const soft = Number(userLimits?.open_files?.soft);
  return Number.isNaN(soft) ? Infinity : soft;
}

/** Connections that fit beside what else needs files: a quarter of a limit that is too low for the reserve. */
export function connectionsThatFit(limit: number, workers = 0): number {
  return Math.max(limit - reserve - workers * perWorker, Math.floor(limit / 4), 1);
}

/** How many connections are taken, of those chosen and those that fit, and what a further one is refused for. */
export function mostConnections(
  chosen: number | undefined,
  fitting: number,
): { most: number; excess: Excess } {
  return chosen === undefined || fitting < chosen
    ? { most: fitting, excess: "open_files" }
    : { most: chosen, excess: "max_connections" };
}
