/* Broker: assembles the parts, starts them, and lets go gracefully.
 *
 *   start   folder lock → state → log → streams → sessions → HTTP and WebSockets
 *   stop    no new connections → goodbyes over the drain time → log and cursors to disk → folder released
 *
 * The one place where clocks and timers meet the rest. */

import type { FastifyInstance } from "fastify";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

import { Fullness } from "./log/fullness.ts";
import { LocalLog } from "./log/local.ts";
import { Retention } from "./log/retention.ts";
import { type Logger, createLogger } from "./logger.ts";
import { type Metrics, createMetrics } from "./metrics.ts";
import { type BrokerOptions, OptionsError, checkOptions, isOpenMode } from "./options.ts";
import { type Authenticator, CursorKeeper, Operations, Rates, Sessions } from "./sessions/index.ts";
import { OpenAuthenticator } from "./sessions/open-authenticator.ts";
import { TokenAuthenticator } from "./sessions/token-authenticator.ts";
import { State } from "./state/index.ts";
import { Streams } from "./streams/index.ts";
import { createHttpServer } from "./transports/http.ts";
import { WebSocketTransport } from "./transports/websocket.ts";
import { packageVersion } from "./version.ts";

/** How often what is due by the clock is looked at, in ms. */
const checkMs = 1_000;
/** How long clients may take to take their last frames when the broker stops, in ms. */
const closeGraceMs = 1_000;

interface Parts {
  options: BrokerOptions;
  logger: Logger;
  state: State;
  log: LocalLog;
  streams: Streams;
  cursors: CursorKeeper;
  sessions: Sessions;
  fullness: Fullness;
  retention: Retention;
  metrics: Metrics;
  http: FastifyInstance;
  webSockets: WebSocketTransport;
}

export class Broker {
  readonly options: BrokerOptions;
  readonly #parts: Parts;
  readonly #timers: NodeJS.Timeout[] = [];
  #readiness: string | undefined = "the broker is starting";
  #stopping: Promise<void> | undefined;

  /** Starts a broker. @throws OptionsError, FolderError, or the error of a port that cannot be listened on */
  static async start(given: Partial<BrokerOptions> = {}): Promise<Broker> {
    const options = checkOptions(given);
    const logger = createLogger(options.logLevel);
    const authenticator = await createAuthenticator(options, logger);
    const state = await State.open(options.data, { isDurable: options.sync === "always" });
    try {
      const broker = new Broker(
        await assemble(options, logger, state, authenticator, () => broker.#whyNotReady()),
      );
      await broker.#listen();
      return broker;
    } catch (error) {
      await state.close();
      throw error;
    }
  }

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.options = parts.options;
  }

  /** Where it listens: `http://127.0.0.1:5252`. WebSockets are at `/v1/ws`. */
  get url(): string {
    const { address, family, port } = this.#parts.http.server.address() as AddressInfo;
    return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
  }

  /** The identity of its history. */
  get epoch(): string {
    return this.#parts.state.positions.epoch;
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

  async #listen(): Promise<void> {
    const { http, options, fullness, logger, state } = this.#parts;
    await fullness.check();
    await http.listen({ host: options.host, port: options.port });
    this.#every(checkMs, () => this.#check());
    this.#every(options.pingMs, () => this.#parts.webSockets.ping());
    this.#every(options.cursorMs, () => this.#parts.streams.tick());
    this.#readiness = undefined;
    logger.info(
      { url: this.url, data: options.data, epoch: this.epoch, head: state.applied(), open: this.isOpen },
      "listening",
    );
  }

  async #check(): Promise<void> {
    const { fullness, log, retention, sessions } = this.#parts;
    sessions.check();
    await fullness.check();
    await log.probe();
    await retention.run();
  }

  async #stop(drainMs: number): Promise<void> {
    const { http, log, cursors, retention, sessions, state, streams, webSockets, logger } = this.#parts;
    this.#readiness = "the broker is stopping";
    for (const timer of this.#timers) clearInterval(timer);
    retention.stop();
    http.server.close();
    await sessions.drain(drainMs);
    await log.close();
    await streams.settled();
    await cursors.close();
    await webSockets.close(closeGraceMs);
    await http.close();
    await state.close();
    logger.info("stopped");
  }

  #whyNotReady(): string | undefined {
    return this.#readiness ?? this.#parts.log.refusal;
  }

  #every(ms: number, work: () => unknown): void {
    const run = async (): Promise<void> => {
      try {
        await work();
      } catch (error) {
        this.#parts.logger.error({ err: error }, "periodic work failed");
      }
    };
    const timer = setInterval(() => void run(), ms);
    timer.unref();
    this.#timers.push(timer);
  }
}

async function createAuthenticator(options: BrokerOptions, logger: Logger): Promise<Authenticator> {
  const { authSecret, jwks, issuer, audience } = options;
  if (isOpenMode(options)) return new OpenAuthenticator();
  const onFailure = (error: unknown): void => logger.warn({ err: error }, "keys could not be read");
  try {
    return await TokenAuthenticator.create({ secret: authSecret, jwks, issuer, audience, onFailure });
  } catch (cause) {
    throw new OptionsError((cause as Error).message, {
      cause,
    });
  }
}

async function assemble(
  options: BrokerOptions,
  logger: Logger,
  state: State,
  authenticator: Authenticator,
  readiness: () => string | undefined,
): Promise<Parts> {
  const now = Date.now;
  const connectionRate = { perSecond: options.connectionRate, burst: options.connectionBurst };
  const { maxStoreBytes, minFreeBytes } = options;
  const fullness = new Fullness(state, options.data, {
    maxStoreBytes,
    minFreeBytes,
    onChange: (reason) => {
      if (reason === undefined) logger.info("there is room again: writes are taken");
      else logger.warn({ reason }, "writes are refused");
    },
  });
  const onFault = (error: unknown): void => {
    metrics.onFault();
    logger.error({ err: error }, "fault");
  };
  const log = new LocalLog(state, {
    listener: (entries, durable) => streams.publish(entries, durable),
    isDurable: options.sync === "always",
    fullness: () => fullness.reason,
    isBehind: () => streams.isBehind,
    onFailure: (error) => logger.error({ err: error }, "commit failed"),
  });
  const streams: Streams = new Streams(state, {
    whenDurable: (offset, callback) => log.whenDurable(offset, callback),
    onTooOld: (subscription) => sessions.end(subscription, operations.tooOld("cursor")),
  });
  const cursors = new CursorKeeper(state, (error) =>
    logger.error({ err: error }, "cursors could not be written"),
  );
  const rates = new Rates({ perSecond: options.userRate, burst: options.userBurst }, now);
  const operations = new Operations({ state, log, streams, cursors, rates });
  const sessions: Sessions = new Sessions({
    state,
    streams,
    cursors,
    operations,
    authenticator,
    node: options.node,
    now,
    connectionRate,
    timeouts: { helloTimeoutMs: options.helloTimeoutMs, noProgressMs: options.noProgressMs },
    onFault,
    onRefusal: (code) => metrics.onRefusal(code),
    onFallBack: () => metrics.onFallBack(),
    onHello: (session, user, client) => logger.debug({ session, user, client }, "hello"),
  });
  const metrics = createMetrics({ state, log, streams, sessions });
  const http = await createHttpServer({
    operations,
    sessions,
    authenticator,
    logger,
    health: { readiness },
    metrics: () => metrics.text(),
    version: packageVersion(),
    browserClientFile: browserClientFile(),
    corsOrigins: options.corsOrigins,
    connectionRate,
    onRefusal: (code) => metrics.onRefusal(code),
    onFault,
  });
  const { corsOrigins } = options;
  const webSockets = new WebSocketTransport({
    server: http.server,
    sessions,
    authenticator,
    corsOrigins,
    onFault,
  });
  const retention = new Retention(
    state,
    log,
    { ageMs: options.retainAgeMs, count: options.retainCount },
    now,
  );
  return {
    options,
    logger,
    state,
    log,
    streams,
    cursors,
    sessions,
    fullness,
    retention,
    metrics,
    http,
    webSockets,
  };
}

/** Built beside the built broker; a broker run from its sources serves what was built last. */
function browserClientFile(): string {
  const built = import.meta.url.endsWith(".ts") ? "../dist/" : "../";
  return fileURLToPath(new URL(`${built}clients/browser/whalesong.js`, import.meta.url));
}
