/* Report: how a cluster is, for people and programs: its log, its nodes, its snapshots. */

import type { NatsConnection } from "nats";

import { createLogger } from "../logger.ts";
import { clusterNames } from "./names.ts";
import { type Snapshot, Snapshots } from "./snapshots.ts";
import { type NodeStatus, askNodes } from "./status.ts";
import { LogStream, type StreamLook } from "./stream.ts";

export interface ClusterReport {
  cluster: string;
  /** Null when there is none. */
  log: StreamLook | null;
  /** Those that answer. `lag` is in batches; null for a node of another log. */
  nodes: (NodeStatus & { lag: number | null })[];
  /** The newest first. Those of a log that is no more are listed, too, until this one has two of its own. */
  snapshots: (Omit<Snapshot, "object"> & { isOfThisLog: boolean })[];
}

export async function reportCluster(connection: NatsConnection, cluster: string): Promise<ClusterReport> {
  const names = clusterNames(cluster);
  const stream = await LogStream.of(connection, names);
  const store = await Snapshots.of(connection, names, { replicas: 1, logger: createLogger("silent") });
  const nodes = await askNodes(connection, names.status);
  const snapshots = await store.list();
  const log = (await stream.look()) ?? null; // last, so that it is not behind any node
  return {
    cluster,
    log,
    nodes: nodes.map((node) => withLag(node, log)),
    snapshots: snapshots.map((snapshot) => withoutObject(snapshot, log)),
  };
}

function withLag(node: NodeStatus, log: StreamLook | null): ClusterReport["nodes"][number] {
  return { ...node, lag: node.created === log?.created ? log.lastSeq - node.seq : null };
}

function withoutObject(snapshot: Snapshot, log: StreamLook | null): ClusterReport["snapshots"][number] {
  const { object: _object, ...facts } = snapshot;
  return { ...facts, isOfThisLog: snapshot.created === log?.created };
}

/** As text for people. `now` is in ms since the Unix epoch. */
export function toText({ cluster, log, nodes, snapshots }: ClusterReport, now: number): string {
  const lines: string[] = [];
  if (log === null)
    lines.push(`cluster ${cluster}: there is no log; a node that starts with an empty folder founds it`);
  else {
    const kept = log.firstSeq > log.lastSeq ? "none kept" : `${log.firstSeq} to ${log.lastSeq} kept`;
    lines.push(`cluster ${cluster}: log of ${log.lastSeq} batches, ${kept}, created ${log.created}`);
  }
  lines.push("");
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
      "up",
      "state",
    ];
    lines.push(...table([heading, ...nodes.map((node) => nodeRow(node, now))]));
  }
  lines.push("");
  if (snapshots.length === 0) lines.push("no snapshots");
  else {
    const heading = ["snapshot at batch", "head", "epoch", "bytes", "format", "age", "made by"];
    lines.push(...table([heading, ...snapshots.map((snapshot) => snapshotRow(snapshot, now))]));
  }
  return `${lines.join("\n")}\n`;
}

function nodeRow(node: ClusterReport["nodes"][number], now: number): string[] {
  const { version, url, sessions, epoch, floor, head, seq, lag, startedAt, trouble, isKeeper } = node;
  const state = trouble ?? (lag === null ? "of another log" : isKeeper ? "ready, keeper" : "ready");
  const counts = [sessions, epoch, floor, head, seq, lag ?? "-"].map(String);
  return [node.node, version, url, ...counts, ago(now - startedAt), state];
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
