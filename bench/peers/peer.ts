/* Peer: a server that a user might pick instead of ours, as a target of the harness.
 *
 * One file a peer holds all that is special about it: how it is found, told to be as fast as it can be (nothing on disk, no
 * compression, room for every connection) and spoken to. Its `createDialect` is imported by the load processes.
 *
 * "whale" is then N subscribers of one topic, "shoal" some topics of many. A peer keeps nothing and answers no publish:
 * whether every reader got every message is for the harness to check. */

import type { Address, Dialect } from "../load/dialect.ts";
import { type Launch, startServer } from "../targets/server.ts";
import type { Abilities, Running, StartOptions, Target } from "../targets/target.ts";

export interface Peer {
  /** As `--only` names it. */
  readonly key: string;
  /** "nats-server". */
  readonly name: string;
  /** The command that installs it. */
  readonly install: string;
  /** What it runs as, for the reader of the table: "WebSocket, QoS 0". */
  readonly setting: string;
  /** The version that would be started; undefined when it is not installed. */
  findVersion(): string | undefined;
  /** Writes what it needs into `folder`. It has to listen on `port` of 127.0.0.1. */
  prepare(where: { folder: string; port: number }): Launch;
  /** The module of its `createDialect`, below bench/. */
  readonly dialect: string;
  readonly createDialect: (options: PeerDialectOptions) => Dialect;
}

/** What a peer's `createDialect` is given. */
export interface PeerDialectOptions {
  address: Address;
  /** Put before all names of topics. */
  prefix: string;
}

const abilities: Abilities = { follows: false, resumes: false, mentions: false, answers: false };

/** An installed peer as a target. */
export function targetOf(peer: Peer, version: string): Target {
  return {
    name: peer.name,
    version,
    abilities,
    async start(options: StartOptions): Promise<Running> {
      const { folder } = options;
      const prepare = (port: number): Launch => peer.prepare({ folder, port });
      const dialectAt = (address: Address): Dialect => peer.createDialect({ address, prefix: "" });
      const server = await startServer({ ...options, name: peer.name, prepare, dialect: dialectAt });
      return server.asTarget((prefix) => {
        const dialect: PeerDialectOptions = { address: server.address, prefix };
        return { module: peer.dialect, options: dialect };
      });
    },
  };
}
