/* Cluster: what a broker is as one of several nodes, apart from its log: the connection to NATS, and how it became a node.
 *
 *   open     a folder of no cluster yet: founds one or joins it, which waits for NATS; a node's own folder: at once
 *   start    the log is read, and written once this node is at its head
 *   close    after the log */

import type { NatsConnection } from "nats";

import type { Logger } from "../logger.ts";
import type { BrokerOptions } from "../options.ts";
import { connectNats } from "./connection.ts";
import { enter } from "./enter.ts";
import type { ClusterLog } from "./log.ts";
import { type ClusterNames, clusterNames } from "./names.ts";
import type { SharedCursors } from "./shared-cursors.ts";
import { LogStream } from "./stream.ts";

export class Cluster {
  readonly #logger: Logger;
  readonly #names: ClusterNames;
  readonly #connecting: Promise<NatsConnection>;
  readonly #ended: AbortController;

  /** Settles once the folder's store is a node's. @throws OptionsError, FolderError */
  static async open(options: BrokerOptions, logger: Logger): Promise<Cluster> {
    const ended = new AbortController();
    const connecting = connectNats(options, logger, ended.signal);
    connecting.catch(() => {});
    const names = clusterNames(options.cluster);
    try {
      await enter({ options, logger, names, connecting });
    } catch (error) {
      ended.abort();
      await connecting.then(async (connection) => await connection.close()).catch(() => {});
      throw error;
    }
    return new Cluster({ logger, names, connecting, ended });
  }

  private constructor(parts: {
    logger: Logger;
    names: ClusterNames;
    connecting: Promise<NatsConnection>;
    ended: AbortController;
  }) {
    this.#logger = parts.logger;
    this.#names = parts.names;
    this.#connecting = parts.connecting;
    this.#ended = parts.ended;
  }

  start({ log, cursors }: { log: ClusterLog; cursors: SharedCursors }): void {
    void this.#begin(log, cursors).catch((error: unknown) => {
      if (!this.#ended.signal.aborted) this.#logger.fatal({ err: error }, "the cluster cannot be entered");
    });
  }

  async close(): Promise<void> {
    this.#ended.abort();
    await this.#connecting.then(async (connection) => await connection.close()).catch(() => {});
  }

  async #begin(log: ClusterLog, cursors: SharedCursors): Promise<void> {
    const connection = await this.#connecting;
    cursors.share(connection, this.#names.cursors);
    log.start(await LogStream.of(connection, this.#names));
  }
}
