/* Run: what a figure works with: a broker in its own process, loads in theirs, a data folder, progress.
 *
 * All of it is let go by `release`, whether the figure came to its end or not. */

import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { type Phase, startPhase } from "../clients/cli/replay/progress.ts";
import type { Handlers, Progress } from "./asks.ts";
import type { BrokerHandlers, Memory } from "./broker-process.ts";
import { Child } from "./children.ts";
import type { Spent } from "./measure.ts";
import type { Pinning } from "./pinning.ts";
import { pin } from "./targets/processes.ts";
import type { WatchHandlers, Watched } from "./watch.ts";

export interface RunOptions {
  /** Where data folders are made; removed by `release`. */
  folder: string;
  /** The part of every size that is measured, up to 1. */
  scale: number;
  /** Where CPU profiles of the brokers go. None are made without. */
  profiles: string | undefined;
  /** Which cores server and load have; they share all without. */
  pinning?: Pinning | undefined;
  signal: AbortSignal;
}

/** What a figure asked for and what the server spent meanwhile. */
export interface Observed<T> {
  result: T;
  server: Spent;
  loopDelayMs: Watched["loopDelayMs"];
}

export class Run {
  readonly #options: RunOptions;
  readonly #children = new Set<{ end(): Promise<void>; kill(): void }>();
  readonly #name = `b${Date.now().toString(36)}${randomBytes(2).toString("hex")}`;
  #names = 0;
  #folders = 0;

  constructor(options: RunOptions) {
    this.#options = options;
  }

  /** A new beginning for the names that a workload makes up, so that no two workloads or runs at one target touch. */
  makeName(): string {
    return `${this.#name}${(this.#names++).toString(36)}-`;
  }

  get pinning(): Pinning | undefined {
    return this.#options.pinning;
  }

  get profiles(): string | undefined {
    return this.#options.profiles;
  }

  get signal(): AbortSignal {
    return this.#options.signal;
  }

  get scale(): number {
    return this.#options.scale;
  }

  /** `whole`, or as much of it as is measured; 1 at least. */
  size(whole: number): number {
    return Math.max(1, Math.round(whole * this.#options.scale));
  }

  /** A new, empty folder on the disk that is measured. */
  makeFolder(): string {
    const folder = join(this.#options.folder, `data-${++this.#folders}`);
    mkdirSync(folder, { recursive: true });
    return folder;
  }

  /** Starts a broker over `data`. */
  async startBroker(data = this.makeFolder()): Promise<BrokerProcess> {
    const { profiles } = this.#options;
    const profiling = profiles === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profiles}`];
    const child = this.#start<BrokerHandlers>("broker-process", ["--expose-gc", ...profiling]);
    return new BrokerProcess(child, data, await child.ask("start", { data }));
  }

  /** Starts a load, named as its file in load/. */
  startLoad<H extends Handlers>(name: string): Child<H> {
    const child = this.#start<H>(`load/${name}`);
    if (this.pinning !== undefined) pin(child.pid, this.pinning.load);
    return child;
  }

  /** Sees to it that something is ended with the run, if it has not been before. */
  own(process: { end(): Promise<void>; kill(): void }): void {
    this.#children.add(process);
  }

  /** Runs a phase with a progress line of `total` steps on standard error. */
  async phase<T>(name: string, total: number, work: (progress: Progress) => Promise<T>): Promise<T> {
    this.#options.signal.throwIfAborted();
    const phase: Phase = startPhase(name, total);
    let done = 0;
    try {
      const result = await work((now) => phase.update((done = now)));
      done = total;
      return result;
    } finally {
      phase.update(done);
      phase.end();
    }
  }

  /** Ends all processes and removes all data. */
  async release(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.end()));
    this.#children.clear();
    rmSync(this.#options.folder, { recursive: true, force: true });
  }

  /** Ends all processes at once. */
  kill(): void {
    for (const child of this.#children) child.kill();
  }

  #start<H extends Handlers>(script: string, nodeOptions: readonly string[] = []): Child<H> {
    this.#options.signal.throwIfAborted();
    const child = new Child<H>(script, nodeOptions);
    this.#children.add(child);
    return child;
  }
}

/** A broker that runs. */
export class BrokerProcess {
  readonly data: string;
  readonly url: string;
  readonly #child: Child<BrokerHandlers>;

  constructor(child: Child<BrokerHandlers>, data: string, url: string) {
    this.#child = child;
    this.data = data;
    this.url = url;
  }

  /** Does `work`, and tells what the broker spent meanwhile. */
  observe<T>(work: () => Promise<T>): Promise<Observed<T>> {
    return observe(this.#child, work);
  }

  memory(): Promise<Memory> {
    return this.#child.ask("memory", undefined);
  }

  /** Lets its clients go, writes all and ends. */
  async stop(): Promise<void> {
    await this.#child.ask("stop", undefined);
    await this.#child.end();
  }
}

/** Does `work`, and tells what `server` spent meanwhile. */
export async function observe<T>(server: Child<WatchHandlers>, work: () => Promise<T>): Promise<Observed<T>> {
  await server.ask("beginWatch", undefined);
  const result = await work();
  const { spent, loopDelayMs } = await server.ask("endWatch", undefined);
  return { result, server: spent, loopDelayMs };
}
