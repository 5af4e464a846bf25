/* Our broker, as it is shipped: `whalesong serve` in a process of its own, over an empty data folder. */

import { type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

import { packageVersion } from "../../broker/version.ts";
import { locate } from "../built.ts";
import { openFileLimit } from "../machine.ts";
import type { DialectRef } from "../load/dialect.ts";
import { readCounter, readHealth } from "./metrics.ts";
import { handlesUsr2, processTree, spawnPinned } from "./processes.ts";
import type { Abilities, Health, Running, StartOptions, Target } from "./target.ts";
import { whalesongDialect } from "./whalesong-dialect.ts";

export const whalesongAbilities: Abilities = { follows: true, resumes: true, mentions: true, answers: true };

/** Files that a broker has open beside its sessions' sockets. */
const otherFiles = 128;
const startTimeoutMs = 30_000;
/** How long a collection may take; there is no answer to the signal. */
const collectMs = 500;
const stopTimeoutMs = 15_000;

export interface WhalesongOptions {
  /** Further flags of `serve`. */
  flags?: readonly string[];
  /** Processes that hold sessions beside the first, as the flags make it. @default 0 */
  workers?: number;
  /** Readers ask for compression; the flags must allow it. @default false */
  deflate?: boolean;
}

export class Whalesong implements Target {
  readonly name = "whalesong";
  readonly version = packageVersion();
  readonly abilities = whalesongAbilities;
  readonly #options: WhalesongOptions;

  constructor(options: WhalesongOptions = {}) {
    this.#options = options;
  }

  async start({ folder, cores, profiles, signal }: StartOptions): Promise<RunningWhalesong> {
    const { flags = [], workers = 0, deflate = false } = this.#options;
    const { file, loader } = locate("broker/main");
    const preload = locate("bench/targets/gc-on-signal");
    const nodeOptions = [...loader, "--expose-gc", `--import=${new URL(`file://${preload.file}`).href}`];
    if (profiles !== undefined) nodeOptions.push("--cpu-prof", `--cpu-prof-dir=${profiles}`);
    const serve = [
      "serve",
      "--port",
      "0",
      "--operator-port",
      "0",
      "--metrics-share",
      "0ms",
      "--data",
      folder,
      "--log-level",
      "warn",
      ...flags,
    ];
    const child = spawnPinned(process.execPath, [...nodeOptions, file, ...serve], {
      cores,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const mostReaders = (openFileLimit() - otherFiles) * Math.max(1, workers);
    const broker = new RunningWhalesong(child, { mostReaders, deflate });
    signal.addEventListener("abort", () => broker.kill(), { once: true });
    try {
      await broker.started();
    } catch (error) {
      broker.kill();
      throw error;
    }
    return broker;
  }
}

export class RunningWhalesong implements Running {
  readonly mostReaders: number;
  readonly #child: ChildProcess;
  readonly #deflate: boolean;
  readonly #exit: Promise<unknown>;
  #url = "";
  #operatorUrl = "";
  #errors = "";

  constructor(child: ChildProcess, { mostReaders, deflate }: { mostReaders: number; deflate: boolean }) {
    this.#child = child;
    this.#deflate = deflate;
    this.mostReaders = mostReaders;
    this.#exit = once(child, "exit");
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-2_000);
    });
  }

  /** Waits until it listens. */
  async started(): Promise<void> {
    const timer = setTimeout(() => this.kill(), startTimeoutMs);
    for await (const line of createInterface({ input: this.#child.stdout! })) {
      this.#url = /listens on (https?:\/\/\S+)/.exec(line)?.[1] ?? this.#url;
      this.#operatorUrl = /^Operators' port: (\S+)/.exec(line)?.[1] ?? "";
      if (this.#operatorUrl === "") continue; // it is told after the clients' port
      clearTimeout(timer);
      this.#child.stdout!.resume();
      return;
    }
    clearTimeout(timer);
    throw new Error(`the broker did not start: ${this.#errors.trim()}`);
  }

  get url(): string {
    return this.#url;
  }

  get healthUrl(): string {
    return `${this.#url}/healthz`;
  }

  get operatorHealthUrl(): string {
    return `${this.#operatorUrl}/healthz`;
  }

  dialect(run: string): DialectRef {
    return whalesongDialect({ url: this.#url, token: undefined, prefix: run, deflate: this.#deflate });
  }

  pids(): number[] {
    return this.#child.pid === undefined ? [] : [this.#child.pid];
  }

  health(): Promise<Health | undefined> {
    return readHealth(this.#operatorUrl, undefined);
  }

  counter(name: string): Promise<number | undefined> {
    return readCounter(this.#operatorUrl, undefined, name);
  }

  async collectGarbage(): Promise<void> {
    for (const pid of processTree(this.pids())) if (handlesUsr2(pid)) process.kill(pid, "SIGUSR2");
    await sleep(collectMs);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.kill(), stopTimeoutMs);
    await this.#exit;
    clearTimeout(timer);
  }
}
