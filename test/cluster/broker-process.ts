/* ClusterNode: one node of a cluster, a real broker in a process of its own. Cluster: some of them over one NATS.
 *
 * A node keeps its folder and its port for as long as a test lasts, so that it can be started again as it was. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { Test } from "tap";

import { digestStore } from "../../broker/state/digest.ts";
import { State } from "../../broker/state/index.ts";
import { inspectStore } from "../../broker/state/inspect.ts";
import { type ErrorBody, WhalesongError } from "../../protocol/index.ts";
import { BrokerProcess, type Launch } from "../crash/broker-process.ts";
import { budget } from "../pace.ts";
import { faultsOf } from "../state/consistency.ts";
import { bound, freePorts } from "./nats-server.ts";

/** How long a node may take to become what a test waits for, on a quiet machine. */
const patienceMs = 60_000;
/** The longest that a node which is not paused may take to answer a post. */
const answerMs = 20_000;
/** How often to look. */
const lookMs = 50;
/** What a node logged last is shown when a test fails: so many characters. */
const shownLog = 6_000;

export const unlimited = ["--user-rate", "1000000", "--user-burst", "1000000"];
export const manyRequests = ["--connection-rate", "1000000", "--connection-burst", "1000000"];

export interface NodeOptions {
  name: string;
  /** As `--nats` takes them. */
  nats: string;
  folder: string;
  port: number;
  host?: string;
  flags?: readonly string[];
  launch?: Launch;
  /** A user's token, where tokens are asked for. */
  tokenOf?: (user: string) => Promise<string>;
}

/** What `/readyz` says. */
export interface Readiness {
  isReady: boolean;
  /** Why not. */
  reason: string;
}

export class ClusterNode {
  readonly name: string;
  readonly folder: string;
  readonly url: string;
  readonly #options: NodeOptions;
  #process: BrokerProcess | undefined;
  #log = "";

  constructor(options: NodeOptions) {
    const { name, folder, host = "127.0.0.1", port } = options;
    this.name = name;
    this.folder = folder;
    this.url = `http://${host}:${port}`;
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#process !== undefined && !this.#process.hasEnded;
  }

  get pid(): number {
    return this.#process!.pid;
  }

  /** What it has logged, over all its lives. */
  get log(): string {
    return this.#log;
  }

  /** Starts it, with another broker or other flags where given; settles once it listens. */
  async start(change: Partial<Pick<NodeOptions, "flags" | "launch" | "nats">> = {}): Promise<void> {
    const options = { ...this.#options, ...change };
    const { name, folder, host = "127.0.0.1", port, nats } = options;
    const place = ["--host", host, "--port", String(port), "--data", folder];
    const cluster = ["--node", name, "--nats", nats, "--log-level", "info"];
    const flags = [...place, ...cluster, ...unlimited, ...manyRequests, ...(options.flags ?? [])];
    this.#process = await BrokerProcess.launch(flags, {
      ...options.launch,
      by: [...bound(), ...(options.launch?.by ?? [])],
      onLog: (text) => (this.#log += text),
    });
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#process?.kill();
    this.#process = undefined;
  }

  /** SIGTERM. */
  async stop(): Promise<void> {
    await this.#process?.stop();
    this.#process = undefined;
  }

  pause(): void {
    this.#process!.pause();
  }

  resume(): void {
    this.#process!.resume();
  }

  /** Undefined when it does not answer. */
  async readiness(): Promise<Readiness | undefined> {
    const answer = await this.#get("/readyz");
    if (answer === undefined) return undefined;
    const { error } = (await answer.json()) as { error?: { message: string } };
    return { isReady: answer.status === 200, reason: error?.message ?? "" };
  }

  async isAlive(): Promise<boolean> {
    return (await this.#get("/healthz"))?.status === 200;
  }

  async untilReady(withinMs = patienceMs): Promise<void> {
    await this.#until(withinMs, "ready", async () => (await this.readiness())?.isReady === true);
  }

  /** Settles once it says that it is not ready, with the reason. One that does not answer has not said so. */
  async untilUnready(pattern = /./, withinMs = patienceMs): Promise<string> {
    let reason = "";
    await this.#until(withinMs, `unready (${String(pattern)})`, async () => {
      const found = await this.readiness();
      reason = found?.reason ?? "";
      return found?.isReady === false && pattern.test(reason);
    });
    return reason;
  }

  /** The value of a metric without labels. */
  async metric(name: string): Promise<number> {
    const text = (await (await this.#get("/metrics"))?.text()) ?? "";
    const match = new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, "m").exec(text);
    if (match === null) throw new Error(`${this.name} has no metric ${name}`);
    return Number(match[1]);
  }

  /** The offset of the last command it has applied: looked up in its folder, beside it. */
  async applied(): Promise<number> {
    return (await inspectStore(this.folder))?.head ?? 0;
  }

  /** Publishes a post. The answer's id. @throws WhalesongError for a refusal, or the error of a request without an answer */
  async post(text: string, { user = "marker", key }: { user?: string; key?: string } = {}): Promise<string> {
    const { tokenOf } = this.#options;
    const who = new URLSearchParams(tokenOf === undefined ? { user } : { token: await tokenOf(user) });
    const answer = await fetch(`${this.url}/v1/posts?${who.toString()}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text, key }),
      signal: AbortSignal.timeout(budget(answerMs)),
    });
    const { id, error } = (await answer.json()) as { id?: string; error?: ErrorBody };
    if (id === undefined) throw WhalesongError.fromBody(error!);
    return id;
  }

  async #until(withinMs: number, what: string, isSo: () => Promise<boolean>): Promise<void> {
    const since = performance.now();
    while (!(await isSo())) {
      if (performance.now() - since > budget(withinMs)) {
        const said = JSON.stringify(await this.readiness());
        throw new Error(
          `${this.name} is not ${what} after ${withinMs} ms but ${said}; it logged:\n${this.#tail()}`,
        );
      }
      await sleep(lookMs);
    }
  }

  #tail(): string {
    return this.#log.slice(-shownLog);
  }

  async #get(path: string): Promise<Response | undefined> {
    try {
      return await fetch(`${this.url}${path}`, { signal: AbortSignal.timeout(budget(5_000)) });
    } catch {
      return undefined;
    }
  }
}

export interface ClusterOptions extends Pick<NodeOptions, "nats" | "flags" | "tokenOf"> {
  /** @default 3 */
  nodes?: number;
  /** What the last node has otherwise. */
  last?: Partial<NodeOptions>;
}

export class Cluster {
  readonly nodes: readonly ClusterNode[];

  /** Starts the first node, which founds the cluster, then the others, and waits until all are ready. They end with the test. */
  static async for(t: Test, { nodes = 3, last, ...common }: ClusterOptions): Promise<Cluster> {
    const folder = await mkdtemp(join(tmpdir(), "whalesong-nodes-"));
    const ports = await freePorts(nodes);
    const cluster = new Cluster(
      ports.map((port, i) => {
        const name = `node${i + 1}`;
        const own = { name, folder: join(folder, name), port };
        return new ClusterNode({ ...common, ...own, ...(i === nodes - 1 ? last : {}) });
      }),
    );
    t.teardown(async () => {
      await Promise.all(cluster.nodes.map((node) => node.kill()));
      if (!t.passing())
        for (const { name, log } of cluster.nodes) t.comment(`${name}:\n${log.slice(-shownLog)}`);
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    });
    await cluster.start();
    return cluster;
  }

  private constructor(nodes: readonly ClusterNode[]) {
    this.nodes = nodes;
  }

  get urls(): string[] {
    return this.nodes.map(({ url }) => url);
  }

  /** Starts those that do not run; settles once all are ready. */
  async start(): Promise<void> {
    const [first, ...others] = this.nodes;
    for (const some of [[first!], others]) {
      await Promise.all(some.filter(({ isRunning }) => !isRunning).map((node) => node.start()));
      await Promise.all(some.map((node) => node.untilReady()));
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }

  /** Waits until all nodes have applied all that was sent; then stops them, and checks that each holds the same, and that it
   *  is whole. Nothing may be published meanwhile. */
  async checkAgreement(t: Test): Promise<void> {
    // Behind all that its node had sent before, answered or not.
    for (const node of this.nodes) await node.post(`the last of ${node.name}`);
    await agree(this.nodes);
    await this.stop();
    const digests = await Promise.all(this.nodes.map(({ folder }) => digestStore(folder)));
    const [first] = digests;
    t.ok(first!.offset > this.nodes.length, `${first!.offset} commands were applied`);
    for (const [i, { name }] of this.nodes.slice(1).entries())
      t.same(digests[i + 1], first, `${name} holds what ${this.nodes[0]!.name} holds`);
    const state = await State.open(this.nodes[0]!.folder);
    t.same(faultsOf(state), [], "which is whole");
    await state.close();
  }
}

/** Settles once all nodes have applied the same number of commands, nothing being published. */
export async function agree(nodes: readonly ClusterNode[], withinMs = patienceMs): Promise<void> {
  const since = performance.now();
  for (;;) {
    const heads = await Promise.all(nodes.map((node) => node.applied()));
    if (heads.every((head) => head === heads[0])) return;
    if (performance.now() - since > budget(withinMs))
      throw new Error(`after ${withinMs} ms the nodes' heads are ${heads.join(", ")}`);
    await sleep(lookMs);
  }
}
