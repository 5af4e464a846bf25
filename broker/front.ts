/* Front: everything that faces clients, over a log that may be here or in another process.
 *
 *   log ──entries──> streams ──> sessions ──> HTTP and WebSockets
 *
 * A broker that stands alone has one front beside its log; a broker with workers has one in each of them. */

import type { FastifyInstance } from "fastify";
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";

import { rateNames } from "../protocol/index.ts";
import type { Log } from "./log/log.ts";
import type { Logger } from "./logger.ts";
import type { FrontMetrics } from "./metrics.ts";
import { type BrokerOptions, OptionsError, isOpenMode } from "./options.ts";
import { Periodic } from "./periodic.ts";
import { type Authenticator, type Cursors, type Intake, Operations, Sessions } from "./sessions/index.ts";
import { OpenAuthenticator } from "./sessions/open-authenticator.ts";
import { TokenAuthenticator } from "./sessions/token-authenticator.ts";
import type { Entry, Offset, State } from "./state/index.ts";
import { Streams } from "./streams/index.ts";
import { Admission, type Excess, Refusals } from "./transports/admission.ts";
import { createHttpServer } from "./transports/http.ts";
import { WebSocketTransport } from "./transports/websocket.ts";
import { packageVersion } from "./version.ts";

/** How often what is due by the clock is looked at, in ms. */
const checkMs = 1_000;
/** How often some clients are pinged, in ms; each is as often as the options say. */
const pingStepMs = 100;
/** How long clients may take to take their last frames when the broker stops, in ms. */
const closeGraceMs = 1_000;

export interface FrontParts {
  options: BrokerOptions;
  logger: Logger;
  state: State;
  log: Log;
  cursors: Cursors;
  intake: Intake;
  authenticator: Authenticator;
  metrics: FrontMetrics;
  /** Connections that this process takes in, and what a further one is refused for. */
  connections: { most: number; excess: Excess };
  /** Why the broker does not serve at present; undefined when it does. */
  readiness: () => string | undefined | Promise<string | undefined>;
  /** The whole broker's metrics, in Prometheus' text format. */
  metricsText: () => Promise<string>;
}

export class Front {
  readonly streams: Streams;
  readonly sessions: Sessions;
  /** Takes connections; whoever has the port makes it listen, or hands it sockets. */
  readonly http: FastifyInstance;
  /** Of connections that are one too many. */
  readonly refusals: Refusals;
  readonly #options: BrokerOptions;
  readonly #webSockets: WebSocketTransport;
  readonly #periodic: Periodic;

  static async create(parts: FrontParts): Promise<Front> {
    const { options, logger, state, log, cursors, intake, authenticator, metrics } = parts;
    const connectionRate = { perSecond: options.connectionRate, burst: options.connectionBurst };
    const onFault = (error: unknown): void => {
      metrics.onFault();
      logger.error({ err: error }, "fault");
    };
    const streams: Streams = new Streams(state, {
      whenDurable: (offset, callback) => log.whenDurable(offset, callback),
      onTooOld: (subscription) => sessions.end(subscription, operations.places.tooOld("cursor")),
    });
    const operations = new Operations({ state, log, streams, cursors, intake });
    const sessions: Sessions = new Sessions({
      state,
      streams,
      cursors,
      operations,
      authenticator,
      node: options.node,
      now: Date.now,
      elapsed: () => performance.now(),
      connectionRate,
      maxUserConnections: options.maxUserConnections,
      rates: Object.fromEntries(rateNames.map((name) => [name, options[name]])),
      timeouts: { helloTimeoutMs: options.helloTimeoutMs, noProgressMs: options.noProgressMs },
      onFault,
      onRefusal: (code) => metrics.onRefusal(code),
      onFallBack: () => metrics.onFallBack(),
      onSharedCursor: (cursor, count) =>
        logger.warn(
          { ...cursor, sessions: count },
          "sessions share a durable cursor, and the furthest moves it for all: give each program a device name of its own",
        ),
      onHello: (session, user, client) => logger.debug({ session, user, client }, "hello"),
    });
    metrics.watch({ streams, sessions });
    const http = await createHttpServer({
      operations,
      sessions,
      authenticator,
      logger,
      health: { readiness: parts.readiness },
      metrics: options.operatorPort === undefined ? parts.metricsText : undefined,
      version: packageVersion(),
      browserClientFile: browserClientFile(),
      corsOrigins: options.corsOrigins,
      connectionRate,
      noProgressMs: options.noProgressMs,
      onRefusal: (code) => metrics.onRefusal(code),
      onFault,
    });
    const webSockets = new WebSocketTransport({
      server: http.server,
      sessions,
      authenticator,
      corsOrigins: options.corsOrigins,
      compression: options.compress
        ? { onCompressed: (before, after) => metrics.onCompressed(before, after) }
        : undefined,
      pingMs: options.pingMs,
      now: () => performance.now(),
      onFault,
    });
    const refusals = new Refusals({ logger, onRefused: (excess) => metrics.onConnectionRefused(excess) });
    const perAddress = options.maxAddressConnections ?? Infinity;
    admitBy(new Admission({ ...parts.connections, perAddress }, refusals), http.server);
    return new Front(options, logger, { streams, sessions, http, webSockets, refusals });
  }

  private constructor(
    options: BrokerOptions,
    logger: Logger,
    parts: {
      streams: Streams;
      sessions: Sessions;
      http: FastifyInstance;
      webSockets: WebSocketTransport;
      refusals: Refusals;
    },
  ) {
    this.#options = options;
    this.streams = parts.streams;
    this.sessions = parts.sessions;
    this.http = parts.http;
    this.refusals = parts.refusals;
    this.#webSockets = parts.webSockets;
    this.#periodic = new Periodic(logger);
  }

  /** Takes durable entries from the log. */
  publish(entries: Entry[], durable: Offset): void {
    this.streams.publish(entries, durable);
  }

  /** Begins what is done by the clock. */
  start(): void {
    this.#periodic.every(checkMs, () => this.sessions.check());
    this.#periodic.every(pingStepMs, () => this.#webSockets.ping());
    this.#periodic.every(this.#options.cursorMs, () => this.streams.tick());
  }

  /** Takes no new connections and lets all sessions go over `drainMs`. */
  async drain(drainMs: number): Promise<void> {
    this.#periodic.stop();
    this.http.server.close();
    await this.sessions.drain(drainMs);
  }

  /** Ends what is left, once the log is closed and has told all. */
  async close(): Promise<void> {
    await this.#webSockets.close(closeGraceMs);
    // A connection on which nothing was ever asked (browsers open some to be quick) would else be waited for a minute or more.
    const force = setTimeout(() => this.http.server.closeAllConnections(), closeGraceMs);
    await this.http.close();
    clearTimeout(force);
  }
}

/** Has a server take in what `admission` admits, and nothing else. */
function admitBy(admission: Admission, server: Server): void {
  const takers = server.listeners("connection") as ((this: Server, socket: Socket) => void)[];
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    if (admission.admit(socket)) for (const take of takers) take.call(server, socket);
  });
}

/** @throws OptionsError when the keys that tokens are checked with cannot be used */
export async function createAuthenticator(options: BrokerOptions, logger: Logger): Promise<Authenticator> {
  const { authSecret, jwks, issuer, audience, userClaim, scopeClaim, maxTokenAgeMs } = options;
  if (isOpenMode(options)) return new OpenAuthenticator();
  try {
    return await TokenAuthenticator.create({
      secret: authSecret,
      jwks,
      issuer,
      audience,
      claims: { user: userClaim, scope: scopeClaim },
      maxAgeMs: maxTokenAgeMs,
      onFailure: (error) =>
        logger.warn(
          { reason: (error as Error).message },
          "keys cannot be read; those known before stay in force",
        ),
      onRecovery: () => logger.info("keys can be read again"),
    });
  } catch (cause) {
    throw new OptionsError((cause as Error).message, { cause });
  }
}

/** Built beside the built broker; a broker run from its sources serves what was built last. */
function browserClientFile(): string {
  const built = import.meta.url.endsWith(".ts") ? "../dist/" : "../";
  return fileURLToPath(new URL(`${built}clients/browser/whalesong.js`, import.meta.url));
}
