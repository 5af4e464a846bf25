/* Broker: assembles the parts, starts them, and lets go gracefully.
 *
 *   alone         core (folder, state, log) ── front (streams, sessions, HTTP and WebSockets)
 *   with workers  core ── port and workers ══ in each worker process a front
 *
 *   start   folder lock → state → log → operators' port → fronts → port
 *   stop    no new connections → goodbyes over the drain time → log and cursors to disk → operators' port → folder released */

import type { FastifyInstance } from "fastify";
import type { AddressInfo } from "node:net";

import { Alone } from "./alone.ts";
import { Core } from "./core.ts";
import { createAuthenticator } from "./front.ts";
import { createLogger } from "./logger.ts";
import { type BrokerOptions, checkOptions, isOpenMode } from "./options.ts";
import type { Service } from "./service.ts";
import { createOperatorServer } from "./transports/operators.ts";
import { packageVersion } from "./version.ts";
import { Workers } from "./workers/workers.ts";

export class Broker {
  readonly options: BrokerOptions;
  readonly #core: Core;
  readonly #service: Service;
  readonly #operators: FastifyInstance | undefined;
  #stopping: Promise<void> | undefined;

  /** Starts a broker. @throws OptionsError, FolderError, or the error of a port that cannot be listened on */
  static async start(given: Partial<BrokerOptions> = {}): Promise<Broker> {
    const options = checkOptions(given);
    const logger = createLogger(options.logLevel);
    const authenticator = await createAuthenticator(options, logger);
    let service: Service | undefined;
    let operators: FastifyInstance | undefined;
    const core = await Core.open(options, logger, () => service!);
    try {
      await core.check();
      service = options.workers > 0 ? new Workers(core) : await Alone.create(core, authenticator);
      operators = await openOperatorPort(core, service);
      await service.start();
    } catch (error) {
      await service?.drain(0);
      await operators?.close();
      await core.close();
      throw error;
    }
    core.start();
    return new Broker(core, service, operators);
  }

  private constructor(core: Core, service: Service, operators: FastifyInstance | undefined) {
    this.#core = core;
    this.#service = service;
    this.#operators = operators;
    this.options = core.options;
    core.logger.info(
      {
        url: this.url,
        data: this.options.data,
        epoch: this.epoch,
        head: core.state.applied(),
        open: this.isOpen,
        workers: this.options.workers,
      },
      "listening",
    );
  }

  /** Where it listens: `http://127.0.0.1:5252`. WebSockets are at `/v1/ws`. */
  get url(): string {
    return urlOf(this.#service.address);
  }

  /** Where operators may ask apart from all others, if that was chosen. */
  get operatorUrl(): string | undefined {
    return this.#operators && urlOf(this.#operators.server.address() as AddressInfo);
  }

  /** The identity of its history. */
  get epoch(): string {
    return this.#core.state.positions.epoch;
  }

  /** Whether it runs in open mode: whoever connects says who they are. */
  get isOpen(): boolean {
    return isOpenMode(this.options);
  }

  /** Lets all sessions go over `drainMs` (default: the option), writes all that was taken, releases the folder. */
  stop(drainMs = this.options.drainMs): Promise<void> {
    this.#stopping ??= this.#stop(drainMs);
    return this.#stopping;
  }

  async #stop(drainMs: number): Promise<void> {
    const { log, logger } = this.#core;
    this.#core.stop();
    await this.#service.drain(drainMs);
    await log.close();
    await this.#service.close();
    await this.#operators?.close();
    await this.#core.close();
    logger.info("stopped");
  }
}

async function openOperatorPort(core: Core, service: Service): Promise<FastifyInstance | undefined> {
  const { host, operatorPort } = core.options;
  if (operatorPort === undefined) return undefined;
  const server = await createOperatorServer({
    logger: core.logger,
    version: packageVersion(),
    health: { readiness: () => core.readiness },
    metrics: () => service.metricsText(),
  });
  await server.listen({ host, port: operatorPort });
  return server;
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}
