/* Init: begins a cluster with the data of a folder, and ends a folder's being of one.
 *
 * What a lone broker has becomes the cluster's first snapshot; its offsets, ids, cursors and epoch carry on. What a node of a
 * cluster has that came to an end does, too, in a new epoch: other nodes may have told clients of more in the old one. */

import type { NatsConnection } from "nats";

import { createLogger } from "../logger.ts";
import type { BrokerOptions } from "../options.ts";
import { State, refuseFolderInUse } from "../state/index.ts";
import { pause } from "./connection.ts";
import type { Holding } from "./decision.ts";
import { ClusterError } from "./error.ts";
import { beginCluster, holdingOf } from "./join.ts";
import { Lease } from "./lease.ts";
import { type ClusterNames, clusterNames } from "./names.ts";
import { type Snapshot, Snapshots } from "./snapshots.ts";
import { askNodes } from "./status.ts";
import { LogStream, type StreamLook } from "./stream.ts";

/** How long to wait for the lease, in ms: longer than one lasts that nobody renews. */
const leaseMs = 20_000;
const lookMs = 100;

export interface InitOptions {
  /** A cluster of that name that there is comes to an end. */
  replace: boolean;
}

/** Returns the cluster's first snapshot. @throws ClusterError, FolderError */
export async function initCluster(
  options: BrokerOptions,
  connection: NatsConnection,
  { replace }: InitOptions,
): Promise<Snapshot> {
  const { data, node, clusterReplicas: replicas } = options;
  const names = clusterNames(options.cluster);
  await refuseWhileNodesRun(connection, names);
  await refuseFolderInUse(data);
  const holding = await holdingOf(data);
  if (holding.kind === "nothing") {
    throw new ClusterError(
      `data folder ${data}: it holds no data to begin a cluster with; a node that starts with an empty one (whalesong serve --nats …) ` +
        "founds the cluster by itself",
    );
  }
  const logger = createLogger(options.logLevel);
  const log = await LogStream.of(connection, names);
  const snapshots = await Snapshots.of(connection, names, { replicas, logger });
  const lease = new Lease(connection, { bucket: names.lease, node, replicas, logger });
  try {
    const signal = await held(lease);
    const look = await log.look();
    const isGoingOn = look !== undefined && (await isUnfinished(look, snapshots));
    if (look !== undefined && !isGoingOn) {
      if (!replace) throw new ClusterError(existing(options.cluster, names, look));
      await log.destroy();
    }
    const isNewEpoch = holding.kind === "member" && !(isGoingOn && isOf(holding, look));
    const { clusterRetainAgeMs: retainAgeMs, clusterRetainBytes: retainBytes } = options;
    const stream = { replicas, retainAgeMs, retainBytes };
    return await beginCluster({ data, node, stream, isNewEpoch }, { log, snapshots, signal });
  } finally {
    await lease.close();
  }
}

/** Makes the data of a node that of a lone broker, in a new epoch: the cluster goes on without it. @throws ClusterError, FolderError */
export async function leaveCluster(data: string): Promise<void> {
  await refuseFolderInUse(data);
  const holding = await holdingOf(data);
  if (holding.kind !== "member")
    throw new ClusterError(`data folder ${data}: it is not a node's of a cluster`);
  const state = await State.open(data, { isNewEpoch: true });
  try {
    await state.leaveCluster();
  } finally {
    await state.close();
  }
}

async function refuseWhileNodesRun(connection: NatsConnection, names: ClusterNames): Promise<void> {
  const nodes = await askNodes(connection, names.status);
  if (nodes.length === 0) return;
  throw new ClusterError(
    `nodes of the cluster run: ${nodes.map(({ node, url }) => `${node} (${url})`).join(", ")}; stop them first`,
  );
}

async function held(lease: Lease): Promise<AbortSignal> {
  const deadline = performance.now() + leaseMs;
  while (lease.tenure === undefined) {
    if (performance.now() > deadline) {
      throw new ClusterError("a node that is starting holds the cluster's lease: stop all nodes first");
    }
    await pause(lookMs);
  }
  return lease.tenure;
}

/** Somebody made the log, and ended before there was anything to begin from. */
async function isUnfinished({ created, lastSeq }: StreamLook, snapshots: Snapshots): Promise<boolean> {
  return lastSeq === 0 && (await snapshots.listOf(created)).length === 0;
}

function isOf({ mark }: Extract<Holding, { kind: "member" }>, look: StreamLook | undefined): boolean {
  return mark.seq === 0 && mark.created === look?.created;
}

function existing(cluster: string, { stream }: ClusterNames, { created, lastSeq }: StreamLook): string {
  return (
    `there is a cluster ${cluster} already (stream ${stream}, created at ${created}, ${lastSeq} batches): ` +
    "choose another name with --cluster; or, to end that one and begin anew with this folder's data, add --replace"
  );
}
