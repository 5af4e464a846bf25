/* Pass over: an operator lets all nodes leave out a message of the log that none of them can read.
 *
 * Nothing is left out that somebody can read, since nodes would come to differ: neither what this version reads, nor what a newer version wrote,
 * nor what a node has applied. So at least one node must be stopped at it, and say so. */

import type { NatsConnection } from "nats";

import type { Level } from "../state/index.ts";
import { packageVersion } from "../version.ts";
import { BatchError, decodeBatch, levelBefore } from "./batch.ts";
import { ClusterError } from "./error.ts";
import { clusterNames } from "./names.ts";
import { PassedOver } from "./passed-over.ts";
import { type NodeStatus, askNodes } from "./status.ts";
import { LogStream } from "./stream.ts";

export interface PassedMessage {
  /** What is wrong with it. */
  why: string;
  /** Nodes that are stopped at it and go on now. */
  stopped: string[];
  /** Nodes of a version that knows no such record, and must be upgraded to go on. */
  tooOld: string[];
}

/** Settles once it is recorded that the message `seq` is left out. @throws ClusterError with the reason why it is not */
export async function passOver(
  connection: NatsConnection,
  cluster: string,
  seq: number,
): Promise<PassedMessage> {
  const names = clusterNames(cluster);
  const stream = await LogStream.of(connection, names);
  const look = await stream.look();
  if (look === undefined) throw new ClusterError(`cluster ${cluster} has no log (stream ${names.stream})`);
  const { created, firstSeq, lastSeq } = look;
  const message = await stream.messageAt(seq);
  if (message === undefined) {
    const holds = firstSeq > lastSeq ? "holds none" : `holds ${firstSeq} to ${lastSeq}`;
    throw new ClusterError(`message ${seq} is not in the log of cluster ${cluster}, which ${holds}`);
  }
  const all = await askNodes(connection, names.status);
  const nodes = all.filter((node) => node.created === created);
  const passedOver = await PassedOver.of(connection, names);
  const logged = { created, seq, data: message.data };
  const stopped = nodes.filter((node) => node.stopped?.seq === seq && !node.stopped.isNewer);
  const tooOld = nodes.filter((node) => node.levels === undefined && node.seq < seq);
  const told = { stopped: namesOf(stopped), tooOld: namesOf(tooOld) };
  if (await passedOver.has(logged)) return { why: "it is left out already", ...told };
  const why = malformation(seq, message.data, stopped);
  refuseApplied(seq, nodes);
  if (stopped.length === 0) {
    const where = nodes.map((node) => `${node.node} at ${node.seq}`).join(", ") || "none answers";
    throw new ClusterError(
      `no node is stopped at message ${seq} of the log (${where}): it is left out once one has come to it and says so`,
    );
  }
  await passedOver.add(logged, { why, replicas: await stream.replicas() });
  return { why, ...told };
}

/** @throws ClusterError when some of these nodes could read it */
function refuseApplied(seq: number, nodes: readonly NodeStatus[]): void {
  const applied = nodes.filter((node) => node.seq >= seq);
  if (applied.length === 0) return;
  throw new ClusterError(
    `message ${seq} of the log was applied by ${withVersions(applied)}: nodes that leave it out would come to differ. If these are of a newer ` +
      "version, upgrade the others; if they are of 0.1.0, which applies what is no command in part, stop them, and start them with empty folders afterwards",
  );
}

/** What is wrong with it. @throws ClusterError when nothing is that nobody can read */
function malformation(seq: number, data: Uint8Array, stopped: readonly NodeStatus[]): string {
  let needed: Level;
  try {
    needed = levelBefore(decodeBatch(data).commands);
  } catch (error) {
    if (!(error instanceof BatchError)) throw error;
    if (!error.isNewer) return error.message;
    throw new ClusterError(
      `message ${seq} of the log is of a newer version than this one (${packageVersion()}): upgrade the nodes that are stopped at it; it is not left out`,
    );
  }
  // Those that are stopped at it have applied what comes before it: theirs is the level that the log has there.
  const levels = stopped.map(({ level = 1 }) => level);
  if (levels.length > 0 && levels.every((level) => needed > level))
    return `it is of level ${needed}, and the log is at ${Math.max(...levels)}`;
  const upgrade = stopped.length === 0 ? "" : `; upgrade ${withVersions(stopped)}`;
  throw new ClusterError(
    `message ${seq} of the log is no malformed one: this version (${packageVersion()}) reads it, and nothing is left out that a node can apply${upgrade}`,
  );
}

function withVersions(nodes: readonly NodeStatus[]): string {
  return nodes.map(({ node, version }) => `${node} (${version})`).join(", ");
}

function namesOf(nodes: readonly NodeStatus[]): string[] {
  return nodes.map(({ node }) => node);
}
