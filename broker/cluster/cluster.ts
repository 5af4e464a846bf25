/* Cluster: what a broker is as one of several nodes, apart from its log: the connection to NATS, how it became a node, what it does
 * for all while it is their keeper, and what it says when it is asked how it is.
 *
 *   open     the folder's store is brought to where the log goes on (join.ts)
 *   start    the log is read, and written once this node is at its head
 *   close    after the log */

import { type NatsConnection, nuid } from "nats";

import type { Logger } from "../logger.ts";
import type { BrokerOptions } from "../options.ts";
import type { State } from "../state/index.ts";
import { packageVersion } from "../version.ts";
import { connectNats } from "./connection.ts";
import { joinCluster } from "./join.ts";
import { Keeper } from "./keeper.ts";
import { Lease } from "./lease.ts";
import type { ClusterLog } from "./log.ts";
import { type ClusterNames, clusterNames } from "./names.ts";
import type { SharedCursors } from "./shared-cursors.ts";
import { Snapshots } from "./snapshots.ts";
import { type NodeStatus, answerStatus } from "./status.ts";
import { LogStream } from "./stream.ts";

/** What a node is made of, once its store is open. */
export interface NodeParts {
  state: State;
  log: ClusterLog;
  cursors: SharedCursors;
  /** Moves the floor where that is due: a keeper's work. */
  trim: () => Promise<void>;
  /** What the node says of itself that only its front knows. */
  describe: () => Promise<Pick<NodeStatus, "url" | "sessions">>;
}

export class Cluster {
  readonly #options: BrokerOptions;
  readonly #logger: Logger;
  readonly #names: ClusterNames;
  readonly #connecting: Promise<NatsConnection>;
  readonly #ended: AbortController;
  readonly #startedAt = Date.now();
  readonly #run = nuid.next();
  #beginning: Promise<void> | undefined;
  #keeper: Keeper | undefined;

  /** Settles once the folder's store is a node's. Rejects with the signal's reason when that is aborted.
   *  @throws OptionsError, FolderError */
  static async open(options: BrokerOptions, logger: Logger, signal?: AbortSignal): Promise<Cluster> {
    const ended = new AbortController();
    const connecting = connectNats(options, logger, ended.signal);
    connecting.catch(() => {});
    const cluster = new Cluster(options, logger, { connecting, ended });
    const onAbort = (): void => ended.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    try {
      signal?.throwIfAborted();
      await joinCluster(options, { connecting, logger, signal: ended.signal });
    } catch (error) {
      await cluster.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
    return cluster;
  }

  private constructor(
    options: BrokerOptions,
    logger: Logger,
    { connecting, ended }: { connecting: Promise<NatsConnection>; ended: AbortController },
  ) {
    this.#options = options;
    this.#logger = logger;
    this.#names = clusterNames(options.cluster);
    this.#connecting = connecting;
    this.#ended = ended;
  }

  start(parts: NodeParts): void {
    this.#beginning = this.#begin(parts).catch((error: unknown) => {
      if (!this.#ended.signal.aborted) this.#logger.fatal({ err: error }, "the cluster cannot be entered");
    });
  }

  /** What this node does for all, if it does. */
  get keeper(): Pick<Keeper, "isKeeper" | "newest"> | undefined {
    return this.#keeper;
  }

  async close(): Promise<void> {
    this.#ended.abort();
    await this.#beginning;
    await this.#keeper?.close();
    await this.#connecting.then(async (connection) => await connection.close()).catch(() => {});
  }

  async #begin(parts: NodeParts): Promise<void> {
    const connection = await this.#connecting;
    parts.cursors.share(connection, this.#names.cursors);
    const stream = await LogStream.of(connection, this.#names);
    if (this.#ended.signal.aborted) return;
    parts.log.start(stream);
    await this.#keep(connection, stream, parts);
    void answerStatus(connection, this.#names.status, () => this.#status(parts));
  }

  async #keep(connection: NatsConnection, stream: LogStream, { state, trim }: NodeParts): Promise<void> {
    const { data, node, snapshotEveryMs: everyMs, snapshotCommands: commands, minFreeBytes } = this.#options;
    const { clusterReplicas: replicas } = this.#options;
    const logger = this.#logger;
    const snapshots = await Snapshots.of(connection, this.#names, { replicas, logger });
    if (this.#ended.signal.aborted) return;
    const lease = new Lease(connection, { bucket: this.#names.lease, node, replicas, logger });
    this.#keeper = new Keeper(
      { data, node, everyMs, commands, minFreeBytes, trim },
      { state, lease, stream, snapshots, logger },
    );
  }

  async #status({ state, log, describe }: NodeParts): Promise<NodeStatus> {
    const { created = "", seq = 0 } = state.meta.cluster ?? {};
    return {
      node: this.#options.node,
      run: this.#run,
      version: packageVersion(),
      ...(await describe()),
      trouble: log.refusal,
      epoch: state.positions.epoch,
      head: state.applied(),
      floor: state.meta.floor,
      created,
      seq,
      isKeeper: this.#keeper?.isKeeper ?? false,
      startedAt: this.#startedAt,
    };
  }
}
