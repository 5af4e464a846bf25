/* Alone: a broker in one process. The front beside the log, on a port of its own. */

import { lookup } from "node:dns/promises";
import { type AddressInfo, type Server, createServer } from "node:net";

import type { Service } from "./service.ts";
import type { Core } from "./core.ts";
import { Front } from "./front.ts";
import { createMetrics } from "./metrics.ts";
import { connectionsThatFit, mostConnections, openFileLimit } from "./open-files.ts";
import type { Authenticator } from "./sessions/index.ts";
import { SharedScrape } from "./shared-scrape.ts";
import type { Entry, Offset } from "./state/index.ts";

export class Alone implements Service {
  readonly #core: Core;
  readonly #front: Front;
  readonly #scrape: SharedScrape;
  /** Of further addresses that its host's name stands for. */
  readonly #others: Server[] = [];

  static async create(core: Core, authenticator: Authenticator): Promise<Alone> {
    const { options, logger, state, log, cursors, intake } = core;
    const metrics = createMetrics({ state, log, cursors, cluster: core.cluster });
    const scrape = new SharedScrape(() => metrics.text(), options.metricsShareMs);
    const front = await Front.create({
      options,
      logger,
      state,
      log,
      cursors,
      intake,
      authenticator,
      metrics,
      connections: mostConnections(options.maxConnections, connectionsThatFit(openFileLimit())),
      readiness: () => core.readiness,
      metricsText: () => scrape.text(),
    });
    return new Alone(core, front, scrape);
  }

  private constructor(core: Core, front: Front, scrape: SharedScrape) {
    this.#core = core;
    this.#front = front;
    this.#scrape = scrape;
  }

  async start(): Promise<void> {
    const { host, port, backlog } = this.#core.options;
    const { http, refusals } = this.#front;
    const [first, ...others] = await lookup(host, { all: true, order: "ipv4first" });
    await http.listen({ host: first!.address, port, backlog });
    http.server.on("error", (error) => refusals.failed(error));
    for (const { address } of others) await this.#listenAlso(address);
    this.#front.start();
  }

  get address(): AddressInfo {
    return this.#front.http.server.address() as AddressInfo;
  }

  metricsText(): Promise<string> {
    return this.#scrape.text();
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
    for (const server of this.#others) server.close();
    return this.#front.drain(drainMs);
  }

  async close(): Promise<void> {
    await this.#front.streams.settled();
    await this.#front.close();
  }

  /** A host may have a name for an address that it does not have: that one is left out. */
  async #listenAlso(address: string): Promise<void> {
    const { http, refusals } = this.#front;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      http.server.emit("connection", socket),
    );
    const isListening = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen({ host: address, port: this.address.port, backlog: this.#core.options.backlog }, () =>
        resolve(true),
      );
    });
    if (!isListening) return;
    server.on("error", (error) => refusals.failed(error));
    this.#others.push(server);
  }
}
