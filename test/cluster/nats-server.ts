/* NatsServers: real nats-server processes with JetStream, alone or clustered, to be stopped, killed and paused.
 *
 * Each has its ports and its store for as long as a test lasts, so that it can be started again as it was. They listen on
 * loopback, outside of the range from which the kernel gives ports to outgoing connections: nobody takes one meanwhile. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { Test } from "tap";

import { askProgram, findProgram } from "../../bench/targets/programs.ts";
import { budget } from "../pace.ts";

/** How long a server, or the three, may take to be ready, on a quiet machine: of three that were paused, 2.9 may need several elections. */
const readyMs = 120_000;
/** How often to look. */
const lookMs = 50;

export interface NatsOptions {
  /** How many: 1, or 3 that form a JetStream cluster. @default 1 */
  servers?: 1 | 3;
  /** Further lines of each server's configuration. */
  configuration?: string;
  /** The address they listen on. @default "127.0.0.1" */
  host?: string;
}

/** Why there is no nats-server to test with, and how to get it; undefined when there is one. */
export function missingNats(): string | undefined {
  const version = askProgram("nats-server", ["--version"], /v([\d.]+)/);
  if (version !== undefined) return undefined;
  return "nats-server is not installed: apt-get install nats-server (or sh test/setup/packages.sh)";
}

/** Whether the installed server takes `sync_interval`, as 2.10 and newer do. */
export function knowsSyncInterval(): boolean {
  return isAtLeast(10);
}

/**
 * Whether servers that were paused go on as they should. One of 2.9.10 that led the log meanwhile stores what had waited for it as its own, so
 * that nodes which read its copy have another history; and three may not find to each other again.
 */
export function bearsPauses(): boolean {
  return isAtLeast(12);
}

function isAtLeast(minor: number): boolean {
  const version = askProgram("nats-server", ["--version"], /v([\d.]+)/) ?? "0.0";
  const [its = 0, itsMinor = 0] = version.split(".").map(Number);
  return its > 2 || (its === 2 && itsMinor >= minor);
}

/** Runs `body` as a test when there is a nats-server; `timeoutMs` is its time on a quiet machine. Without one it is skipped and says why; in CI that is a failure. */
export async function natsTest(
  tap: Test,
  name: string,
  { timeoutMs }: { timeoutMs: number },
  body: (t: Test) => Promise<void>,
): Promise<void> {
  const missing = missingNats();
  const timeout = 2 * budget(timeoutMs); // others may begin to work here while it runs
  tap.setTimeout(timeout + 10_000); // the file's, from now on: by default it is short
  await tap.test(name, { timeout }, async (t) => {
    if (missing === undefined) await body(t);
    else if (process.env["CI"] === "true") t.fail(missing);
    else t.pass(`skipped: ${missing}`, { skip: missing });
  });
}

interface Ports {
  client: number;
  monitor: number;
  cluster: number;
}

interface ServerPlan {
  name: string;
  folder: string;
  host: string;
  ports: Ports;
}

/** What `/jsz` says, as far as it is asked. */
interface JetStreamReport {
  meta_cluster?: { leader?: string; cluster_size?: number };
  account_details?: { stream_detail?: StreamDetail[] }[];
}

interface StreamDetail {
  name: string;
  cluster?: { leader?: string };
  state: { last_seq: number };
}

function streamsOf(report: JetStreamReport | undefined): StreamDetail[] {
  return (report?.account_details ?? []).flatMap(({ stream_detail: streams = [] }) => streams);
}

/** Whether all servers that have the stream `name` say that `leader` leads it. */
function isSameEverywhere(
  reports: readonly (JetStreamReport | undefined)[],
  name: string,
  leader: string | undefined,
): boolean {
  if (leader === undefined) return false;
  return reports.every((report) =>
    streamsOf(report).every((stream) => stream.name !== name || stream.cluster?.leader === leader),
  );
}

/** One server. */
export class NatsServer {
  readonly name: string;
  /** Where clients connect. */
  readonly url: string;
  readonly #plan: ServerPlan;
  #child: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(plan: ServerPlan) {
    this.#plan = plan;
    this.name = plan.name;
    this.url = `nats://${plan.host}:${plan.ports.client}`;
  }

  /** Where JetStream keeps its files. */
  get store(): string {
    return join(this.#plan.folder, `store-${this.name}`);
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** Starts it, anew or for the first time. It is not ready yet. */
  start(): void {
    if (this.#child !== undefined) throw new Error(`${this.name} runs already`);
    const { folder, name } = this.#plan;
    const child = spawnBound(findProgram("nats-server")!, ["-c", join(folder, `${name}.conf`)]);
    const log = createWriteStream(this.#logFile, { flags: "a" });
    child.stderr!.pipe(log);
    this.#child = child;
    this.#ended = once(child, "exit").then(() => {
      if (this.#child === child) this.#child = undefined;
    });
  }

  /** SIGTERM: it writes what it has, and lets go. */
  async stop(): Promise<void> {
    this.#child?.kill("SIGTERM");
    await this.#ended;
  }

  /** SIGKILL: no handler runs. What it had written is in the kernel's hands, and there when it starts again. */
  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#ended;
  }

  /** SIGSTOP: it keeps its connections and says nothing. */
  pause(): void {
    this.#child?.kill("SIGSTOP");
  }

  /** SIGCONT. */
  resume(): void {
    this.#child?.kill("SIGCONT");
  }

  /** Whether JetStream serves here, and all that it holds is as its cluster has it. */
  async isHealthy(): Promise<boolean> {
    return (await this.#get("/healthz"))?.ok ?? false;
  }

  /** What JetStream says of itself here; undefined while it does not answer. */
  async report(): Promise<JetStreamReport | undefined> {
    const answer = await this.#get("/jsz?streams=1");
    return answer?.ok === true ? ((await answer.json()) as JetStreamReport) : undefined;
  }

  /** What it has written to its log. */
  log(): Promise<string> {
    return readFile(this.#logFile, "utf8").catch(() => "");
  }

  get #logFile(): string {
    return join(this.#plan.folder, `${this.name}.log`);
  }

  async #get(path: string): Promise<Response | undefined> {
    const { host, ports } = this.#plan;
    try {
      return await fetch(`http://${host}:${ports.monitor}${path}`, {
        signal: AbortSignal.timeout(budget(2_000)),
      });
    } catch {
      return undefined;
    }
  }
}

/** All of a test's NATS: one server, or three. */
export class NatsServers {
  readonly servers: readonly NatsServer[];
  readonly #folder: string;

  /** Starts them and waits until JetStream is ready. They end with the test. */
  static async for(t: Test, options: NatsOptions = {}): Promise<NatsServers> {
    const nats = await NatsServers.#prepare(options);
    t.teardown(() => nats.#remove());
    await nats.start();
    return nats;
  }

  static async #prepare({
    servers = 1,
    configuration = "",
    host = "127.0.0.1",
  }: NatsOptions): Promise<NatsServers> {
    const folder = await mkdtemp(join(tmpdir(), "whalesong-nats-"));
    const ports = await freePorts(3 * servers, host);
    const plans = Array.from({ length: servers }, (_, i): ServerPlan => {
      const [client, monitor, cluster] = ports.slice(3 * i, 3 * i + 3) as [number, number, number];
      return { name: `n${i + 1}`, folder, host, ports: { client, monitor, cluster } };
    });
    for (const plan of plans) {
      const text = `${configurationOf(plan, plans)}\n${configuration}\n`;
      await writeFile(join(folder, `${plan.name}.conf`), text);
    }
    return new NatsServers(
      folder,
      plans.map((plan) => new NatsServer(plan)),
    );
  }

  private constructor(folder: string, servers: NatsServer[]) {
    this.#folder = folder;
    this.servers = servers;
  }

  /** The servers' addresses, as `--nats` takes them. */
  get urls(): string {
    return this.servers.map(({ url }) => url).join(",");
  }

  /** Starts those that do not run, and waits until all are ready. */
  async start(): Promise<void> {
    for (const server of this.servers) if (!server.isRunning) server.start();
    await this.ready();
  }

  /** All of them gone, politely. */
  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  async kill(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
  }

  /** Waits until every server that runs is healthy and, of three, all name one leader, of JetStream and of each stream. */
  async ready(): Promise<void> {
    const since = performance.now();
    while (!(await this.#isReady())) {
      if (performance.now() - since > budget(readyMs)) {
        const logs = await Promise.all(
          this.servers.map(async (server) => (await server.log()).slice(-4_000)),
        );
        throw new Error(`JetStream is not ready after ${readyMs} ms:\n${logs.join("\n")}`);
      }
      await sleep(lookMs);
    }
  }

  /** The server that leads `stream`; waits until there is one among those that run. */
  async leaderOf(stream: string): Promise<NatsServer> {
    const since = performance.now();
    for (;;) {
      const leader = await this.#leaderNow(stream);
      if (leader !== undefined) return leader;
      if (performance.now() - since > budget(readyMs))
        throw new Error(`stream ${stream} has no leader after ${readyMs} ms`);
      await sleep(lookMs);
    }
  }

  /** A server's own word for being the leader counts: others may not have heard yet. */
  async #leaderNow(stream: string): Promise<NatsServer | undefined> {
    for (const server of this.servers) {
      const report = server.isRunning ? await server.report() : undefined;
      const found = streamsOf(report).find(({ name }) => name === stream);
      if (found === undefined) continue;
      if (this.servers.length === 1 || found.cluster?.leader === server.name) return server;
    }
    return undefined;
  }

  async #isReady(): Promise<boolean> {
    const running = this.servers.filter(({ isRunning }) => isRunning);
    for (const server of running) if (!(await server.isHealthy())) return false;
    if (this.servers.length === 1) return running.length === 1;
    const reports = await Promise.all(running.map((server) => server.report()));
    const leader = reports[0]?.meta_cluster?.leader;
    if (leader === undefined) return false;
    return reports.every(
      (report) =>
        report?.meta_cluster?.leader === leader &&
        report.meta_cluster.cluster_size === this.servers.length &&
        streamsOf(report).every(({ name, cluster }) => isSameEverywhere(reports, name, cluster?.leader)),
    );
  }

  async #remove(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

function configurationOf({ name, folder, host, ports }: ServerPlan, plans: readonly ServerPlan[]): string {
  const alone = `server_name: ${name}
host: ${host}
port: ${ports.client}
http: "${host}:${ports.monitor}"
jetstream { store_dir: "${join(folder, `store-${name}`)}", max_memory_store: 64MB, max_file_store: 8GB }`;
  if (plans.length === 1) return alone;
  const routes = plans.map((plan) => `"nats-route://${plan.host}:${plan.ports.cluster}"`).join(", ");
  return `${alone}
cluster { name: test, listen: "${host}:${ports.cluster}", routes: [${routes}] }`;
}

/** What runs a program so that it ends with this process, however that ends, where there is such a thing. */
export function bound(): readonly string[] {
  const setpriv = findProgram("setpriv");
  return setpriv === undefined ? [] : [setpriv, "--pdeathsig", "KILL"];
}

/** Starts a program so. */
export function spawnBound(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): ChildProcess {
  const [program, ...all] = [...bound(), file, ...args];
  return spawn(program ?? file, all, { env, stdio: ["ignore", "pipe", "pipe"] });
}

/** The least port taken, and the first that the kernel gives to outgoing connections. */
const leastPort = 10_000;
const firstEphemeralPort = 32_768;

/** Ports of `host` that nobody listens on. */
export async function freePorts(count: number, host = "127.0.0.1"): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = leastPort + Math.floor(Math.random() * (firstEphemeralPort - leastPort));
    if (await isFree(port, host)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
