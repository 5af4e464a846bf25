/* Alone: a broker in one process. The front beside the log, on a port of its own. */

import type { AddressInfo } from "node:net";

import type { Service } from "./service.ts";
import type { Core } from "./core.ts";
import { Front } from "./front.ts";
import { type Metrics, createMetrics } from "./metrics.ts";
import type { Authenticator } from "./sessions/index.ts";
import type { Entry, Offset } from "./state/index.ts";

export class Alone implements Service {
  readonly #core: Core;
  readonly #front: Front;
  readonly #metrics: Metrics;

  static async create(core: Core, authenticator: Authenticator): Promise<Alone> {
    const { options, logger, state, log, cursors, intake } = core;
    const metrics = createMetrics({ state, log, cursors, cluster: core.cluster });
    const front = await Front.create({
      options,
      logger,
      state,
      log,
      cursors,
      intake,
      authenticator,
      metrics,
      readiness: () => core.readiness,
      metricsText: () => metrics.text(),
    });
    return new Alone(core, front, metrics);
  }

  private constructor(core: Core, front: Front, metrics: Metrics) {
    this.#core = core;
    this.#front = front;
    this.#metrics = metrics;
  }

  async start(): Promise<void> {
    const { host, port, backlog } = this.#core.options;
    await this.#front.http.listen({ host, port, backlog });
    this.#front.start();
  }

  get address(): AddressInfo {
    return this.#front.http.server.address() as AddressInfo;
  }

  metricsText(): Promise<string> {
    return this.#metrics.text();
  }

  countSessions(): number {
    return this.#front.sessions.count;
  }

  publish(entries: Entry[], durable: Offset): void {
    this.#front.publish(entries, durable);
  }

  get isBehind(): boolean {
    return this.#front.streams.isBehind;
  }

  /** Streams are told in the same breath, and hold on to what they were told. */
  get heard(): Offset {
    return Number.MAX_SAFE_INTEGER;
  }

  drain(drainMs: number): Promise<void> {
    return this.#front.drain(drainMs);
  }

  async close(): Promise<void> {
    await this.#front.streams.settled();
    await this.#front.close();
  }
}
