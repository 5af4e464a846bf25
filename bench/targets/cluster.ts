/* A cluster of our own on this machine: nats-server, and nodes that are brokers as they are shipped.
 *
 *   nats-server ─┬─ node 1     each with a folder and a port for as long as the cluster is,
 *                ├─ node 2     so that it can be stopped and started again as it was
 *                └─ node 3
 *
 * Where on it readers and publishers are is chosen for each workload: `at` makes a target of it. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { DialectRef } from "../load/dialect.ts";
import type { Run } from "../run.ts";
import { clusterDialect } from "./cluster-dialect.ts";
import { startNatsServer } from "./nats-server.ts";
import { type Server, freePort } from "./server.ts";
import type { Part, Running } from "./target.ts";
import { type RunningWhalesong, Whalesong } from "./whalesong.ts";

export interface ClusterOptions {
  run: Run;
  nodes: number;
  /** Further flags of every node's `serve`. */
  flags: readonly string[];
  /** Readers ask for compression; the flags must allow it. */
  deflate: boolean;
}

/** The nodes that have readers, and those that have publishers, counted from 0. */
export interface Places {
  readers: readonly number[];
  publishers: readonly number[];
}

const readyTimeoutMs = 60_000;
const betweenLooksMs = 20;

export class Cluster {
  readonly nodes: readonly Node[];
  readonly #nats: Server;
  readonly #deflate: boolean;

  private constructor(nats: Server, nodes: readonly Node[], deflate: boolean) {
    this.#nats = nats;
    this.nodes = nodes;
    this.#deflate = deflate;
  }

  /** Settles when all nodes take commands. @throws that nats-server is not installed, or what it or a node said */
  static async start({ run, nodes: count, flags, deflate }: ClusterOptions): Promise<Cluster> {
    const { signal } = run;
    const nats = await startNatsServer({ folder: run.makeFolder(), signal });
    run.own({ end: () => nats.stop(), kill: () => {} });
    const folder = run.makeFolder();
    const { host, port } = nats.address;
    const nodes = await Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const name = `node-${i + 1}`;
        // Nodes share the machine's cores as it is: no more processes than nodes, unless the flags say so.
        const own = ["--nats", `nats://${host}:${port}`, "--node", name, "--workers", "0"];
        own.push("--port", String(await freePort()));
        return new Node({ run, folder: join(folder, name), flags: [...own, ...flags], deflate });
      }),
    );
    // One after the other: the first one founds the cluster.
    for (const node of nodes) await node.start();
    return new Cluster(nats, nodes, deflate);
  }

  get urls(): string[] {
    return this.nodes.map((node) => node.url);
  }

  /** nats-server and the nodes that run. */
  parts(): Part[] {
    const nodes = this.nodes.flatMap((node, i) =>
      node.isRunning ? [{ name: `node ${i + 1}`, pids: node.pids }] : [],
    );
    return [{ name: "nats-server", pids: this.#nats.asTarget(noDialect).pids() }, ...nodes];
  }

  /** The cluster as a workload's target. Stopping that leaves the cluster as it is. */
  at({ readers, publishers }: Places): Running {
    const { urls } = this;
    const deflate = this.#deflate;
    const mostReaders = Math.min(...readers.map((i) => this.nodes[i]!.mostReaders)) * readers.length;
    return {
      mostReaders,
      dialect: (run) =>
        clusterDialect({
          urls,
          token: undefined,
          prefix: run,
          deflate,
          readersAt: readers,
          publishersAt: publishers,
        }),
      pids: () => this.parts().flatMap(({ pids }) => pids),
      parts: () => this.parts(),
      stop: async () => {},
    };
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await this.#nats.stop();
  }
}

function noDialect(): DialectRef {
  throw new Error("nats-server is no target of its own here");
}

interface NodeOptions {
  run: Run;
  folder: string;
  flags: readonly string[];
  deflate: boolean;
}

/** One broker of it. */
export class Node {
  readonly #options: NodeOptions;
  #running: RunningWhalesong | undefined;

  constructor(options: NodeOptions) {
    this.#options = options;
    mkdirSync(options.folder, { recursive: true });
    options.run.own({ end: () => this.stop(), kill: () => {} });
  }

  get url(): string {
    return this.#get().url;
  }

  get pids(): number[] {
    return this.#get().pids();
  }

  get mostReaders(): number {
    return this.#get().mostReaders;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Settles when it listens; it may not take commands yet. */
  async spawn(): Promise<void> {
    const { run, folder, flags, deflate } = this.#options;
    const { signal, profiles } = run;
    this.#running = await new Whalesong({ flags, deflate }).start({
      folder,
      cores: undefined,
      profiles,
      signal,
    });
  }

  /** Settles when it takes commands. */
  async start(): Promise<void> {
    await this.spawn();
    const deadlineMs = performance.now() + readyTimeoutMs;
    for (;;) {
      const response = await fetch(`${this.url}/readyz`);
      const said = await response.text();
      if (response.ok) return;
      if (performance.now() > deadlineMs)
        throw new Error(`${this.url} was not ready within ${readyTimeoutMs / 1_000} s: ${said}`);
      await sleep(betweenLooksMs);
    }
  }

  /** One of its figures now. @throws that it does not tell */
  async metric(name: string): Promise<number> {
    const value = await this.#get().counter(name);
    if (value === undefined) throw new Error(`${this.url}/metrics does not tell ${name}`);
    return value;
  }

  /** SIGTERM: it lets its sessions go over its drain time, and ends. */
  async stop(): Promise<void> {
    const running = this.#running;
    await running?.stop();
    if (this.#running === running) this.#running = undefined;
  }

  #get(): RunningWhalesong {
    if (this.#running === undefined) throw new Error("this node does not run");
    return this.#running;
  }
}
