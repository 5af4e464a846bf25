/* Life: one life of a broker, from its folder's lock to its release.
 *
 *   start   folder lock → state → log → operators' port → fronts → port
 *   stop    no new connections → goodbyes over the drain time → log and cursors to disk → operators' port → folder released */

import type { FastifyInstance } from "fastify";
import type { AddressInfo } from "node:net";

import { Alone } from "./alone.ts";
import { Core } from "./core.ts";
import type { Logger } from "./logger.ts";
import { type BrokerOptions, isLoopback, isOpenMode } from "./options.ts";
import { type Service, urlOf } from "./service.ts";
import type { Authenticator } from "./sessions/index.ts";
import { createOperatorServer } from "./transports/operators.ts";
import { packageVersion } from "./version.ts";
import { Workers } from "./workers/workers.ts";

export interface LifeParts {
  logger: Logger;
  authenticator: Authenticator;
  /** It cannot go on by itself, and is to be stopped and followed by another (core.ts). */
  onLost: () => void;
  /** Ends a start that waits. */
  signal: AbortSignal;
}

export class Life {
  /** Where it listens. */
  readonly url: string;
  /** Where operators may ask apart from all others, if that was chosen. */
  readonly operatorUrl: string | undefined;
  readonly core: Core;
  readonly #service: Service;
  readonly #operators: FastifyInstance | undefined;
  #stopping: Promise<void> | undefined;

  /** @throws FolderError, OptionsError, the signal's reason, or the error of a port that cannot be listened on */
  static async start(options: BrokerOptions, { authenticator, ...parts }: LifeParts): Promise<Life> {
    let service: Service | undefined;
    let operators: FastifyInstance | undefined;
    const core = await Core.open(options, { ...parts, audience: () => service! });
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
    core.start(service);
    return new Life(core, service, operators);
  }

  private constructor(core: Core, service: Service, operators: FastifyInstance | undefined) {
    this.core = core;
    this.#service = service;
    this.#operators = operators;
    this.url = urlOf(service.address);
    this.operatorUrl = operators && urlOf(operators.server.address() as AddressInfo);
  }

  /** As often as one likes. */
  stop(drainMs: number): Promise<void> {
    this.#stopping ??= this.#stop(drainMs);
    return this.#stopping;
  }

  async #stop(drainMs: number): Promise<void> {
    this.core.stop();
    await this.#service.drain(drainMs);
    await this.core.log.close();
    await this.#service.close();
    await this.#operators?.close();
    await this.core.close();
  }
}

async function openOperatorPort(core: Core, service: Service): Promise<FastifyInstance | undefined> {
  const { operatorPort, corsOrigins } = core.options;
  const host = core.options.operatorHost ?? core.options.host;
  if (operatorPort === undefined) return undefined;
  const server = await createOperatorServer({
    logger: core.logger,
    version: packageVersion(),
    health: { readiness: () => core.readiness },
    metrics: () => service.metricsText(),
    guardedBut: isOpenMode(core.options) && isLoopback(host) ? corsOrigins : undefined,
  });
  await server.listen({ host, port: operatorPort });
  return server;
}
