/* Metrics: what the broker tells of itself, in Prometheus' text format.
 *
 * Most are read from their source when they are asked for, so that counting costs nothing in between. Counters that are
 * read so go up as long as the process lives, as counters do. Names carry units; words are those of the protocol. */

import { Counter, Gauge, Registry, collectDefaultMetrics } from "prom-client";

import type { ErrorCode } from "../protocol/index.ts";
import type { Log } from "./log/log.ts";
import type { Sessions } from "./sessions/index.ts";
import type { State } from "./state/index.ts";
import type { Streams } from "./streams/index.ts";

export interface MetricsSources {
  state: Pick<State, "size" | "meta">;
  log: Pick<Log, "pending" | "durable">;
  streams: Pick<Streams, "stats" | "head">;
  sessions: Pick<Sessions, "count" | "opened">;
}

export interface Metrics {
  readonly contentType: string;
  /** All of it as text. */
  text(): Promise<string>;
  /** A request was refused. */
  onRefusal(code: ErrorCode): void;
  /** A slow reader's outbox was dropped; it goes on by catching up. */
  onFallBack(): void;
  /** Something happened that should not. */
  onFault(): void;
}

/** Metrics of their own registry, so that several brokers can live in one process. */
export function createMetrics(sources: MetricsSources): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  addGauges(registry, sources);
  addStoreGauges(registry, sources);
  addReadCounters(registry, sources);
  const registers = [registry];
  const refusals = new Counter({
    name: "whalesong_refusals_total",
    help: "Requests refused, by error code.",
    labelNames: ["code"] as const,
    registers,
  });
  const fallBacks = new Counter({
    name: "whalesong_fallbacks_total",
    help: "Times that a slow reader's outbox was dropped and it went back to catching up.",
    registers,
  });
  const faults = new Counter({
    name: "whalesong_faults_total",
    help: "Faults of the broker; each is in its log.",
    registers,
  });
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    onRefusal: (code) => refusals.inc({ code }),
    onFallBack: () => fallBacks.inc(),
    onFault: () => faults.inc(),
  };
}

function addGauges(registry: Registry, { state, log, streams, sessions }: MetricsSources): void {
  const gauges: [name: string, help: string, read: () => number][] = [
    ["whalesong_sessions", "Clients connected, by WebSocket or as event streams.", () => sessions.count],
    [
      "whalesong_subscriptions",
      "Live attachments of sessions to streams.",
      () => streams.stats.subscriptions,
    ],
    ["whalesong_catching_up", "Subscriptions in line to catch up.", () => streams.stats.catchingUp],
    [
      "whalesong_head_offset",
      "Offset up to which all is durable and on its way to readers.",
      () => streams.head,
    ],
    ["whalesong_durable_offset", "Offset up to which all is on disk.", () => log.durable],
    ["whalesong_floor_offset", "Offset up to which entries are gone.", () => state.meta.floor],
    ["whalesong_log_pending", "Commands that wait to be applied.", () => log.pending],
    ["whalesong_fanout_pending", "Entries that wait to be fanned out.", () => streams.stats.fanOutPending],
    ["whalesong_interest_bytes", "Memory of the interest index.", () => streams.stats.interestBytes],
  ];
  for (const [name, help, read] of gauges) {
    const gauge: Gauge = new Gauge({ name, help, registers: [registry], collect: () => gauge.set(read()) });
  }
}

/** The store's sizes, looked up once for each scrape: all are set when the first of them is asked for. */
function addStoreGauges(registry: Registry, { state }: MetricsSources): void {
  const registers = [registry];
  const labelNames = ["table"] as const;
  const used: Gauge = new Gauge({
    name: "whalesong_store_bytes",
    help: "Bytes of the store in use.",
    registers,
    collect() {
      const size = state.size();
      used.set(size.usedBytes);
      file.set(size.fileBytes);
      for (const [table, { bytes, entries }] of Object.entries(size.tables)) {
        tableBytes.set({ table }, bytes);
        tableEntries.set({ table }, entries);
      }
    },
  });
  const file = new Gauge({
    name: "whalesong_store_file_bytes",
    help: "Bytes of the store's file, free pages included.",
    registers,
  });
  const tableBytes = new Gauge({
    name: "whalesong_table_bytes",
    help: "Bytes of one table of the store.",
    labelNames,
    registers,
  });
  const tableEntries = new Gauge({
    name: "whalesong_table_entries",
    help: "Entries in one table of the store.",
    labelNames,
    registers,
  });
}

function addReadCounters(registry: Registry, { streams, sessions }: MetricsSources): void {
  const registers = [registry];
  const opened: Counter = new Counter({
    name: "whalesong_sessions_opened_total",
    help: "Sessions opened.",
    registers,
    collect() {
      opened.reset();
      opened.inc(sessions.opened);
    },
  });
  const deliveries: Counter<"way"> = new Counter({
    name: "whalesong_deliveries_total",
    help: "Events handed to sessions: live, or by catching up.",
    labelNames: ["way"] as const,
    registers,
    collect() {
      const { deliveredLive, deliveredCatchUp } = streams.stats;
      deliveries.reset();
      deliveries.inc({ way: "live" }, deliveredLive);
      deliveries.inc({ way: "catch_up" }, deliveredCatchUp);
    },
  });
}
