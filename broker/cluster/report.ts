/* Report: how a cluster is, for people and programs: its log and its level, its nodes, its snapshots. */

import type { NatsConnection } from "nats";

import { createLogger } from "../logger.ts";
import { oldestLevel } from "../state/index.ts";
import { type ClusterNames, clusterNames } from "./names.ts";
import { type Holder, holdersOf, whatHolds } from "./raising.ts";
import { Register, type RegisteredNode, levelsOf } from "./register.ts";
import { type Snapshot, Snapshots } from "./snapshots.ts";
import { type NodeStatus, askNodes } from "./status.ts";
import { LogStream, type StreamLook } from "./stream.ts";

type Levels = [oldest: number, newest: number];

export interface ClusterReport {
  cluster: string;
  /** Null when there is none. */
  log: StreamLook | null;
  /** The level of the log, as far as the nodes have come that answer; null when none does. */
  level: number | null;
  /** The level that it is to be raised to, the nodes that do not read it, and what the keeper says it waits for; null when there is none. */
  next: { level: number; heldBackBy: Holder[]; keeper: string | null } | null;
  /** Those that answer. `lag` is in batches; null for a node of another log. */
  nodes: (NodeStatus & { lag: number | null; level: number; levels: Levels })[];
  /** Those that are known, also while they are away, by name; null when NATS does not tell. `seenAt` is in ms since the Unix epoch. */
  register: (Omit<RegisteredNode, "oldest" | "newest"> & { levels: Levels; answers: boolean })[] | null;
  /** The newest first. Those of a log that is no more are listed, too, until this one has two of its own. */
  snapshots: (Omit<Snapshot, "object"> & { isOfThisLog: boolean })[];
}

export async function reportCluster(connection: NatsConnection, cluster: string): Promise<ClusterReport> {
  const names = clusterNames(cluster);
  const stream = await LogStream.of(connection, names);
  const store = await Snapshots.of(connection, names, { replicas: 1, logger: createLogger("silent") });
  const nodes = await askNodes(connection, names.status);
  const known = await registered(connection, names);
  const snapshots = await store.list();
  const log = (await stream.look()) ?? null; // last, so that it is not behind any node
  return {
    cluster,
    log,
    ...levelOf(nodes, known ?? []),
    nodes: nodes.map((node) => withLag(node, log)),
    register: known?.map((row) => withAnswer(row, nodes)) ?? null,
    snapshots: snapshots.map((snapshot) => withoutObject(snapshot, log)),
  };
}

/** Undefined when NATS does not tell: it may be an older NATS configuration, which knows no register. */
async function registered(
  connection: NatsConnection,
  { nodes: bucket }: ClusterNames,
): Promise<RegisteredNode[] | undefined> {
  try {
    return await (await Register.of(connection, { bucket })).list();
  } catch {
    return undefined;
  }
}

/** Who asks may be of an earlier version than nodes are, or of a later one: which levels there are is what nodes say. */
function levelOf(
  nodes: readonly NodeStatus[],
  known: readonly RegisteredNode[],
): Pick<ClusterReport, "level" | "next"> {
  if (nodes.length === 0) return { level: null, next: null };
  const level = Math.max(...nodes.map((node) => node.level ?? oldestLevel));
  const newest = Math.max(...nodes.map((node) => levelsOf(node)[1]));
  if (newest <= level) return { level, next: null };
  const keeper = nodes.find(({ raising }) => raising !== undefined)?.raising ?? null;
  const next = { level: level + 1, heldBackBy: holdersOf(level + 1, known, nodes), keeper };
  return { level, next };
}

function withLag(node: NodeStatus, log: StreamLook | null): ClusterReport["nodes"][number] {
  const lag = node.created === log?.created ? log.lastSeq - node.seq : null;
  return { ...node, lag, level: node.level ?? oldestLevel, levels: [...levelsOf(node)] };
}

function withAnswer(
  { oldest, newest, ...row }: RegisteredNode,
  nodes: readonly NodeStatus[],
): NonNullable<ClusterReport["register"]>[number] {
  return { ...row, levels: [oldest, newest], answers: nodes.some(({ node }) => node === row.node) };
}

function withoutObject(snapshot: Snapshot, log: StreamLook | null): ClusterReport["snapshots"][number] {
  const { object: _object, ...facts } = snapshot;
  return { ...facts, isOfThisLog: snapshot.created === log?.created };
}

/** As text for people. `now` is in ms since the Unix epoch. */
export function toText(report: ClusterReport, now: number): string {
  const { cluster, log, nodes, register, snapshots } = report;
  const lines: string[] = [];
  if (log === null)
    lines.push(`cluster ${cluster}: there is no log; a node that starts with an empty folder founds it`);
  else {
    const kept = log.firstSeq > log.lastSeq ? "none kept" : `${log.firstSeq} to ${log.lastSeq} kept`;
    lines.push(`cluster ${cluster}: log of ${log.lastSeq} batches, ${kept}, created ${log.created}`);
  }
  lines.push(...levelLines(report), "");
  if (nodes.length === 0) lines.push("no node answers");
  else {
    const heading = [
      "node",
      "version",
      "url",
      "sessions",
      "epoch",
      "floor",
      "head",
      "batch",
      "lag",
      "level (reads)",
      "up",
      "state",
    ];
    lines.push(...table([heading, ...nodes.map((node) => nodeRow(node, now))]));
  }
  const away = register?.filter(({ answers }) => !answers) ?? [];
  if (away.length > 0) {
    const heading = ["away", "version", "reads", "last seen"];
    lines.push("", ...table([heading, ...away.map((row) => awayRow(row, now))]));
  }
  lines.push("");
  if (snapshots.length === 0) lines.push("no snapshots");
  else {
    const heading = ["snapshot at batch", "head", "epoch", "bytes", "format", "age", "made by"];
    lines.push(...table([heading, ...snapshots.map((snapshot) => snapshotRow(snapshot, now))]));
  }
  return `${lines.join("\n")}\n`;
}

function levelLines({ level, next, register }: ClusterReport): string[] {
  if (level === null) return [];
  const lines = [`level ${level}`];
  if (next !== null) {
    const { heldBackBy, keeper } = next;
    lines.push(
      heldBackBy.length > 0
        ? whatHolds(next.level, heldBackBy)
        : (keeper ?? `level ${next.level}: the keeper raises it once every node reads it`),
    );
  }
  if (register === null)
    lines.push(
      "the register of nodes cannot be read: NATS is to allow what broker/deploy/nats-server.conf does",
    );
  return lines;
}

function nodeRow(node: ClusterReport["nodes"][number], now: number): string[] {
  const { version, url, sessions, epoch, floor, head, seq, lag, level, levels } = node;
  const { startedAt, trouble, isKeeper } = node;
  const state = trouble ?? (lag === null ? "of another log" : isKeeper ? "ready, keeper" : "ready");
  const counts = [sessions, epoch, floor, head, seq, lag ?? "-"].map(String);
  const reads = `${level} (${rangeOf(levels)})`;
  return [node.node, version, url, ...counts, reads, ago(now - startedAt), state];
}

function awayRow(
  { node, version, levels, seenAt }: NonNullable<ClusterReport["register"]>[number],
  now: number,
): string[] {
  return [node, version, rangeOf(levels), `${ago(now - seenAt)} ago`];
}

function rangeOf([oldest, newest]: Levels): string {
  return oldest === newest ? String(oldest) : `${oldest}-${newest}`;
}

function snapshotRow(snapshot: ClusterReport["snapshots"][number], now: number): string[] {
  const { seq, offset, epoch, bytes, format, at, node, version, isOfThisLog } = snapshot;
  const made = `${node}, ${version}${isOfThisLog ? "" : ", of a log that is no more"}`;
  return [...[seq, offset, epoch, bytes, format].map(String), ago(now - at), made];
}

function table(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd(),
  );
}

/** `42s`, `17m`, `5h`, `3d`. */
function ago(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1_000));
  if (s < 120) return `${s}s`;
  if (s < 7_200) return `${Math.round(s / 60)}m`;
  if (s < 172_800) return `${Math.round(s / 3_600)}h`;
  return `${Math.round(s / 86_400)}d`;
}
