/* WorkerBroker: a broker with workers whose first process is the test's, with its parts in reach. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { Test } from "tap";

import { Core } from "../../broker/core.ts";
import { createLogger } from "../../broker/logger.ts";
import { type BrokerOptions, checkOptions } from "../../broker/options.ts";
import type { Offset } from "../../broker/state/index.ts";
import type { Positions } from "../../broker/state/positions.ts";
import { Workers } from "../../broker/workers/workers.ts";
import { SessionClient, type SessionClientOptions } from "../sessions/session-client.ts";
import type { BrokerUnderTest } from "./broker-under-test.ts";

/** How often quiet streams are told their cursor, in ms: the least there is. */
const cursorMs = 10;

export class WorkerBroker implements BrokerUnderTest {
  readonly core: Core;
  readonly workers: Workers;
  readonly faults: unknown[] = [];
  #stopped: Promise<void> | undefined;

  static async start(
    folder: string,
    workers: number,
    options: Partial<BrokerOptions> = {},
  ): Promise<WorkerBroker> {
    const unlimited = { userRate: 1e9, userBurst: 1e9, connectionRate: 1e9, connectionBurst: 1e9 };
    const given = { port: 0, data: folder, logLevel: "fatal", cursorMs, workers, metricsShareMs: 0 } as const;
    const checked = checkOptions({ ...unlimited, ...given, ...options });
    const core: Core = await Core.open(checked, {
      logger: createLogger(checked.logLevel),
      audience: () => service,
      onLost: () => {},
    });
    const service = new Workers(core);
    await service.start();
    core.start(service);
    return new WorkerBroker(core, service);
  }

  /** One in a folder of its own, both gone when the test ends. */
  static async for(t: Test, workers: number, options: Partial<BrokerOptions> = {}): Promise<WorkerBroker> {
    const folder = await mkdtemp(join(tmpdir(), "whalesong-workers-"));
    const broker = await WorkerBroker.start(folder, workers, options);
    t.teardown(async () => {
      await broker.stop();
      await rm(folder, { recursive: true });
    });
    return broker;
  }

  private constructor(core: Core, workers: Workers) {
    this.core = core;
    this.workers = workers;
  }

  get url(): string {
    return `http://127.0.0.1:${this.workers.address.port}`;
  }

  get positions(): Positions {
    return this.core.state.positions;
  }

  get head(): Offset {
    return this.core.log.durable;
  }

  connect(user: string, options: Omit<SessionClientOptions, "user"> = {}): Promise<SessionClient> {
    return SessionClient.open(this.url, { ...options, user });
  }

  /** Clients of these users, the first connected to the first worker, the second to the second. */
  async connectToEach(users: readonly string[], device?: string): Promise<SessionClient[]> {
    const clients: SessionClient[] = [];
    for (const [i, user] of users.entries()) clients.push(await this.connectTo(i + 1, user, device));
    return clients;
  }

  /** Connects until it comes to the worker of that number. */
  async connectTo(worker: number, user: string, device?: string): Promise<SessionClient> {
    const elsewhere: SessionClient[] = [];
    for (;;) {
      const before = await this.sessionsOf(worker);
      const client = await this.connect(user, device === undefined ? {} : { device });
      if ((await this.sessionsOf(worker)) > before) {
        for (const other of elsewhere) await other.close();
        return client;
      }
      elsewhere.push(client);
    }
  }

  /** As retention does: not before all workers have heard so far. */
  async trim(floor: Offset): Promise<void> {
    while (this.workers.heard < floor) await sleep(1);
    const { error } = await this.core.log.append({ op: "trim", floor, most: Number.MAX_SAFE_INTEGER });
    if (error !== undefined) throw error;
  }

  tick(): Promise<void> {
    return sleep(cursorMs); // the workers do it by themselves
  }

  async sessionCount(): Promise<number> {
    return (await this.metrics()).get("whalesong_sessions") ?? 0;
  }

  async sessionsOf(worker: number): Promise<number> {
    return (await this.metrics()).get(`whalesong_worker_sessions{worker="${worker}"}`) ?? 0;
  }

  /** Metrics by name and labels. */
  async metrics(): Promise<Map<string, number>> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(
      lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]),
    );
  }

  /** Kills a worker; settles once another bears its number. */
  async killWorker(number: number): Promise<void> {
    const pid = this.workers.pids[number - 1]!;
    process.kill(pid, "SIGKILL");
    while (this.workers.pids.length < this.core.options.workers || this.workers.pids.includes(pid))
      await sleep(5);
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const faults = (await this.metrics()).get("whalesong_faults_total");
    if (faults !== 0) this.faults.push(new Error(`${faults} faults of workers, see their log`));
    this.core.stop();
    await this.workers.drain(0);
    await this.core.log.close();
    await this.core.cursors.close();
    await this.core.state.close();
  }
}
