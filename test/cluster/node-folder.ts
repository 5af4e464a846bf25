/* NodeFolder: a folder, and what a node does with it without serving anybody: joins, applies a log, is copied. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type NatsConnection, connect } from "nats";
import type { Test } from "tap";

import { type JoinOptions, type JoinParts, joinCluster } from "../../broker/cluster/join.ts";
import { clusterNames } from "../../broker/cluster/names.ts";
import { Snapshots } from "../../broker/cluster/snapshots.ts";
import { LogStream } from "../../broker/cluster/stream.ts";
import { createLogger } from "../../broker/logger.ts";
import type { LogLevel } from "../../broker/options.ts";
import { State, type StoreReport, inspectStore } from "../../broker/state/index.ts";
import { post } from "../state/store.ts";
import { NatsServers } from "./nats-server.ts";

const logger = createLogger((process.env["WHALESONG_TEST_LOG"] ?? "silent") as LogLevel);
const prefix = "test";

/** NATS, and what of it a cluster uses. */
export interface ClusterWorld {
  nats: NatsServers;
  connection: NatsConnection;
  stream: LogStream;
  snapshots: Snapshots;
}

export async function openWorld(t: Test): Promise<ClusterWorld> {
  const nats = await NatsServers.for(t);
  const connection = await connect({ servers: nats.urls, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  t.teardown(() => connection.close());
  const names = clusterNames(prefix);
  const stream = await LogStream.of(connection, names);
  const snapshots = await Snapshots.of(connection, names, { replicas: 1, logger });
  return { nats, connection, stream, snapshots };
}

export class NodeFolder {
  readonly path: string;
  readonly options: JoinOptions;

  static async for(t: Test, node = "a"): Promise<NodeFolder> {
    const path = await mkdtemp(join(tmpdir(), "whalesong-node-"));
    t.teardown(() => rm(path, { recursive: true }));
    return new NodeFolder(path, node);
  }

  private constructor(path: string, node: string) {
    this.path = path;
    this.options = {
      data: path,
      node,
      cluster: prefix,
      clusterReplicas: 1,
      clusterRetainAgeMs: undefined,
      clusterRetainBytes: undefined,
    };
  }

  /** As a broker that starts does. */
  async join({ connection }: ClusterWorld, how: Partial<JoinParts> = {}): Promise<void> {
    const { signal } = new AbortController();
    const connecting = Promise.resolve(connection);
    await joinCluster(this.options, { connecting, logger, signal, beliefMs: 600, ...how });
  }

  inspect(): Promise<StoreReport | undefined> {
    return inspectStore(this.path);
  }

  /** As a broker that stands alone. */
  async publishAlone(count: number): Promise<void> {
    await this.with(async (state) => {
      const { outcomes, flushed } = state.commit(
        Array.from({ length: count }, (_, i) => ({ ...post("alice", { text: `post ${i}` }), at: 1 })),
      );
      await outcomes;
      await flushed;
    });
  }

  /** Appends `count` messages to the log, each one post, and applies all of the log. */
  async publish({ stream }: ClusterWorld, count: number): Promise<void> {
    for (let i = 0; i < count; i++) await stream.publish(new Uint8Array(0));
    await this.apply({ stream });
  }

  /** Applies what the log has, a post for each message whatever it holds. */
  async apply({ stream }: Pick<ClusterWorld, "stream">): Promise<void> {
    await this.with(async (state) => {
      const { lastSeq } = (await stream.look())!;
      for (let seq = state.meta.cluster!.seq + 1; seq <= lastSeq; seq++) {
        const mark = { ...state.meta.cluster!, seq, time: (await stream.timeOf(seq))! };
        const { outcomes, flushed } = state.commit(
          [{ ...post("alice", { text: `post ${seq}` }), at: 1 }],
          mark,
        );
        await outcomes;
        await flushed;
      }
    });
  }

  /** Uploads what it has. */
  async upload({ snapshots }: ClusterWorld): Promise<void> {
    const copy = join(this.path, "copy");
    await rm(copy, { recursive: true, force: true });
    await this.with((state) => state.copyTo(copy));
    await snapshots.upload(copy, { node: this.options.node, signal: new AbortController().signal });
  }

  async with<T>(work: (state: State) => Promise<T>): Promise<T> {
    const state = await State.open(this.path);
    try {
      return await work(state);
    } finally {
      await state.close();
    }
  }
}
