/* Pinning: which cores a target's processes may use, and which the load's.
 *
 * Core for core: the server has the first core for itself, the load all others, so that what a server spends is what one
 * core of it gives, and none waits for the other's. Where there is one core alone, or no taskset, all share all. */

import { readFileSync } from "node:fs";

import { canPin } from "./targets/processes.ts";

export interface Pinning {
  server: readonly number[];
  load: readonly number[];
}

/** Undefined where it cannot be done. */
export function choosePinning(): Pinning | undefined {
  const cores = allowedCores();
  const [first, ...others] = cores;
  if (first === undefined || others.length === 0 || !canPin()) return undefined;
  return { server: [first], load: others };
}

/** A sentence for a result's notes. */
export function describePinning(pinning: Pinning | undefined): string {
  if (pinning === undefined) return "Server and load shared all cores.";
  return `The server had ${named(pinning.server)}, the load ${named(pinning.load)} (taskset).`;
}

function named(cores: readonly number[]): string {
  return cores.length === 1 ? `core ${cores[0]}` : `cores ${cores.join(", ")}`;
}

/** Cores that this process may use, by /proc; none where that is not told. */
function allowedCores(): number[] {
  if (process.platform !== "linux") return [];
  const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "";
  return list.split(",").flatMap((range) => {
    const [from = 0, to = from] = range.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}
