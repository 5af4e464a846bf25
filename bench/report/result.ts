/* Result: what a run of the harness leaves behind, as JSON. The table, the HTML page and the comparison are made from it.
 *
 *   run ─ machine, versions, command
 *    └─ rows: one for each thing measured ("whale, 10,000 online, 32 in flight" at one target)
 *         ├─ figures   deliveries, CPU of the server per delivery, latency, memory
 *         ├─ series    the same over time
 *         └─ load      whether the load, not the server, was the limit
 *
 * Fields that could not be measured are absent, never 0. Times are in ms, CPU in µs, memory in bytes, rates a second. */

import type { Machine } from "../machine.ts";

/** Grows compatibly; a reader refuses a version it does not know. */
export const resultVersion = 1;

export interface RunResult {
  version: typeof resultVersion;
  /** What was typed. */
  command: string;
  workload: string;
  /** ISO 8601. */
  at: string;
  seconds: number;
  whalesong: string;
  machine: Machine;
  rows: Row[];
  /** For the reader, below the table: whole sentences. */
  notes: string[];
}

export interface Row {
  workload: string;
  /** What was measured, without the target: "1,000 online, 32 in flight". */
  name: string;
  /** At what: "whalesong 0.1.0", "nats-server 2.9.10". */
  target: string;
  /** What tells rows apart in plots: followers, online, inFlight, workers, payloadBytes, … */
  parameters: Record<string, number | string>;
  seconds: number;
  deliveries?: number;
  /** Durable publishes answered. */
  publishes?: number;
  /** Of the server's processes, all of them. */
  cpu?: Cpu;
  /** What the same cost a loop that does nothing but send, measured in turns in the same run. */
  baseline?: { name: string; cpuUs: number };
  /** What a reader reads for a delivery: the post and all that is around it, on the wire. */
  wireBytes?: number;
  /** From publish to receipt. */
  latency?: LatencyResult;
  memory?: { rssBytes: number; bytesPerSession?: number };
  /** Of the server's event loop. */
  loopDelay?: { p50: number; p99: number; max: number };
  series?: Series;
  /** What was done meanwhile, on the series' time: shown in their plots. */
  marks?: Mark[];
  /** What else it measured that no field above is for; names are told apart. */
  measures?: Measure[];
  load: LoadResult;
  /** What a reader of the row should know: whole sentences. */
  notes: string[];
  /** A bar set beforehand, and whether it was reached. */
  goals?: Goal[];
}

export interface Cpu {
  /** Per delivery (per publish where nothing is delivered), in µs. */
  userUs: number;
  systemUs: number;
  /** Of one core, 0 to the number of cores. */
  share: number;
}

export interface LatencyResult {
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
  count: number;
  /** Whether waits that a late load hid were filled in (coordinated omission). */
  corrected: boolean;
  /** Ascending [percentile from 0 to 100, ms]. */
  curve: [percentile: number, ms: number][];
}

export interface Series {
  /** Seconds since the row began: the end of each interval. */
  at: number[];
  deliveriesPerSecond: number[];
  publishesPerSecond?: number[];
  /** Of what arrived in the interval. */
  p50?: number[];
  p99?: number[];
  rssBytes?: number[];
  /** Sessions that came back, in each tenth of a second of the interval. */
  reconnects100Ms?: number[];
}

export interface Mark {
  /** Seconds since the row began. */
  at: number;
  /** "node 1 drains". */
  label: string;
}

export interface LoadResult {
  processes: number;
  /** Of one core: the busiest load process's. */
  cpuShare: number;
  /** The load had next to none of its core left: it, not the server, may have been the limit. */
  isBottleneck: boolean;
}

export interface Measure {
  /** "CPU of nats-server for a post". */
  name: string;
  value: number;
  unit: string;
  /** Absent where neither is. */
  better?: "more" | "less";
}

export interface Goal {
  /** "CPU per delivery of the baseline's". */
  what: string;
  measured: number;
  atMost?: number;
  atLeast?: number;
  unit: string;
}
