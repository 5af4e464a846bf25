/* Metrics: what the broker tells of itself, in Prometheus' text format.
 *
 * Most are read from their source when they are asked for, so that counting costs nothing in between. Counters that are
 * read so go up as long as the process lives, as counters do. Names carry units; words are those of the protocol.
 *
 * A process tells what it has: the log and the store, or a front, or both. Where they are several, `aggregator` says how
 * one figure of the broker comes of theirs (workers/figures.ts). */

import { statSync } from "node:fs";

import { type Aggregator, Counter, Gauge, Registry, collectDefaultMetrics } from "prom-client";

import type { ErrorCode } from "../protocol/index.ts";
import type { Cluster } from "./cluster/cluster.ts";
import type { ClusterLog } from "./cluster/log.ts";
import type { Log } from "./log/log.ts";
import type { KeptCursors, Sessions } from "./sessions/index.ts";
import type { State } from "./state/index.ts";
import type { Streams } from "./streams/index.ts";
import type { Excess } from "./transports/admission.ts";

interface ClusterSources {
  readonly log: Pick<ClusterLog, "standing" | "isHalted" | "refusal">;
  readonly node: Pick<Cluster, "keeper">;
}

export interface CoreSources {
  state: Pick<State, "size" | "meta">;
  log: Pick<Log, "pending" | "durable">;
  cursors: Pick<KeptCursors, "unwrittenMs" | "refused">;
  /** Of a node of a cluster. */
  cluster?: ClusterSources | undefined;
}

export interface FrontSources {
  streams: Pick<Streams, "stats" | "head">;
  sessions: Pick<Sessions, "count" | "opened">;
}

/** What a front counts. */
export interface FrontMetrics {
  /** Tells the figures of these, too. */
  watch(front: FrontSources): void;
  /** A request was refused. */
  onRefusal(code: ErrorCode): void;
  /** A connection was refused before anything was read of it. */
  onConnectionRefused(excess: Excess): void;
  /** A slow reader's outbox was dropped; it goes on by catching up. */
  onFallBack(): void;
  /** A message was compressed for WebSocket clients, from so many bytes to so many. */
  onCompressed(bytesBefore: number, bytesAfter: number): void;
  /** Something happened that should not. */
  onFault(): void;
}

/** A process's metrics as they travel to the process that sums them up. */
export type Figures = Awaited<ReturnType<Registry["getMetricsAsJSON"]>>;

export interface Metrics extends FrontMetrics {
  readonly contentType: string;
  /** All of it as text. */
  text(): Promise<string>;
  figures(): Promise<Figures>;
}

/** Metrics of their own registry, so that several brokers can live in one process. */
export function createMetrics(sources: Partial<CoreSources & FrontSources>): Metrics {
  const registry = new Registry();
  addProcess(registry);
  const { state, log, cursors, cluster, streams, sessions } = sources;
  if (state !== undefined && log !== undefined) addCore(registry, { state, log });
  if (cursors !== undefined) addCursors(registry, cursors);
  if (cluster !== undefined) addCluster(registry, cluster);
  if (streams !== undefined && sessions !== undefined) addFront(registry, { streams, sessions });
  const registers = [registry];
  const refusals = new Counter({
    name: "whalesong_refusals_total",
    help: "Requests refused, by error code.",
    labelNames: ["code"] as const,
    registers,
  });
  const connectionRefusals = new Counter({
    name: "whalesong_connections_refused_total",
    help: "Connections refused, by what there was too much of: open files, connections, or connections from one address.",
    labelNames: ["excess"] as const,
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
  const compressed = new Counter({
    name: "whalesong_compressed_messages_total",
    help: "Messages compressed for WebSocket clients: an event counts once, however many get it.",
    registers,
  });
  const compressedBytes = new Counter({
    name: "whalesong_compressed_bytes_total",
    help: "Bytes of these messages, before and after.",
    labelNames: ["side"] as const,
    registers,
  });
  return {
    contentType: registry.contentType,
    watch: (front) => addFront(registry, front),
    text: () => registry.metrics(),
    figures: () => registry.getMetricsAsJSON(),
    onRefusal: (code) => refusals.inc({ code }),
    onConnectionRefused: (excess) => connectionRefusals.inc({ excess }),
    onFallBack: () => fallBacks.inc(),
    onCompressed(bytesBefore, bytesAfter) {
      compressed.inc();
      compressedBytes.inc({ side: "before" }, bytesBefore);
      compressedBytes.inc({ side: "after" }, bytesAfter);
    },
    onFault: () => faults.inc(),
  };
}

/** They list every connection to count it, most of them twice, while nothing else gets its turn. */
const costly = ["handles", "handles_total", "resources", "resources_total"].map(
  (what) => `nodejs_active_${what}`,
);

/** What any process of Node.js tells, as far as that does not grow with its connections. */
function addProcess(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  for (const name of costly) registry.removeSingleMetric(name);
  if (countOpenFiles() === 0) return;
  registry.removeSingleMetric("process_open_fds");
  addGauges(registry, [["process_open_fds", "Number of open file descriptors.", countOpenFiles]]);
}

/** As Linux tells it since 6.2, without a list of them; 0 where it does not. */
function countOpenFiles(): number {
  return statSync("/proc/self/fd", { throwIfNoEntry: false })?.size ?? 0;
}

type GaugeOf = [name: string, help: string, read: () => number, aggregator?: Aggregator];

function addGauges(registry: Registry, gauges: GaugeOf[]): void {
  for (const [name, help, read, aggregator = "sum"] of gauges) {
    const registers = [registry];
    const gauge: Gauge = new Gauge({ name, help, registers, aggregator, collect: () => gauge.set(read()) });
  }
}

function addCursors(registry: Registry, cursors: CoreSources["cursors"]): void {
  addGauges(registry, [
    [
      "whalesong_cursors_unwritten_seconds",
      "Since how long the oldest cursor that is not on disk has waited to be written.",
      () => cursors.unwrittenMs / 1_000,
    ],
  ]);
  const refused: Counter = new Counter({
    name: "whalesong_cursors_refused_total",
    help: "Cursors given up since they cannot be written, each alone; each is in the log.",
    registers: [registry],
    collect() {
      refused.reset();
      refused.inc(cursors.refused);
    },
  });
}

function addCore(registry: Registry, { state, log }: Pick<CoreSources, "state" | "log">): void {
  addGauges(registry, [
    ["whalesong_durable_offset", "Offset up to which all is on disk.", () => log.durable],
    ["whalesong_floor_offset", "Offset up to which entries are gone.", () => state.meta.floor],
    ["whalesong_log_pending", "Commands that wait to be applied.", () => log.pending],
  ]);
  addStoreGauges(registry, state);
}

function addCluster(registry: Registry, { log, node }: ClusterSources): void {
  addGauges(registry, [
    [
      "whalesong_cluster_log_applied_sequence",
      "The sequence of the cluster's log up to which this node has applied it.",
      () => log.standing.seq,
    ],
    [
      "whalesong_cluster_log_last_sequence",
      "The last sequence of the cluster's log, as this node saw it a moment ago.",
      () => log.standing.lastSeq,
    ],
    [
      "whalesong_cluster_log_first_sequence",
      "The oldest sequence that the cluster's log keeps.",
      () => log.standing.firstSeq,
    ],
    [
      "whalesong_cluster_taking_commands",
      "1 while this node takes commands: it reaches the log and is at its head.",
      () => (log.refusal === undefined ? 1 : 0),
    ],
    [
      "whalesong_cluster_halted",
      "1 when this node applies the log no more until someone does something: the log is another, or of a newer format.",
      () => (log.isHalted ? 1 : 0),
    ],
    [
      "whalesong_cluster_keeper",
      "1 on the node that makes the cluster's snapshots at present.",
      () => (node.keeper?.isKeeper === true ? 1 : 0),
    ],
    [
      "whalesong_cluster_snapshot_timestamp_seconds",
      "When the newest snapshot was made, as the keeper knows, in seconds since the Unix epoch; 0 on other nodes.",
      () => (node.keeper?.newest?.at ?? 0) / 1_000,
    ],
    [
      "whalesong_cluster_snapshot_sequence",
      "The sequence of the cluster's log up to which the newest snapshot holds it, as the keeper knows; 0 on other nodes.",
      () => node.keeper?.newest?.seq ?? 0,
    ],
  ]);
}

function addFront(registry: Registry, { streams, sessions }: FrontSources): void {
  addGauges(registry, [
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
      "min",
    ],
    ["whalesong_fanout_pending", "Entries that wait to be fanned out.", () => streams.stats.fanOutPending],
    ["whalesong_interest_bytes", "Memory of the interest index.", () => streams.stats.interestBytes],
  ]);
  addReadCounters(registry, { streams, sessions });
}

/** The store's sizes, looked up once for each scrape: all are set when the first of them is asked for. */
function addStoreGauges(registry: Registry, state: CoreSources["state"]): void {
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

function addReadCounters(registry: Registry, { streams, sessions }: FrontSources): void {
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
