/* SessionBroker: state, log, streams and sessions behind real WebSockets, with every part in reach.
 *
 * What the broker's own assembly adds (HTTP, tokens, timers) is left out, so that a test says when the floor moves, when
 * quiet streams are told their cursor, and what time it is. */

import { type Server, createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Test } from "tap";

import { LocalLog } from "../../broker/log/local.ts";
import {
  type Authenticator,
  CursorKeeper,
  LocalIntake,
  Operations,
  type Principal,
  Rates,
  type Scope,
  Sessions,
  type UserRates,
  scopes,
} from "../../broker/sessions/index.ts";
import { State } from "../../broker/state/index.ts";
import { Streams } from "../../broker/streams/index.ts";
import { WebSocketTransport } from "../../broker/transports/websocket.ts";
import { type RateLimits, WhalesongError, checkHandle } from "../../protocol/index.ts";
import { SessionClient, type SessionClientOptions } from "./session-client.ts";

/** How often a client is pinged. */
export const pingMs = 30_000;

export interface SessionBrokerOptions {
  /** ms since the Unix epoch. @default Date.now */
  now?: () => number;
  /** Why the store may not grow. */
  fullness?: () => string | undefined;
  helloTimeoutMs?: number;
  noProgressMs?: number;
  /** What everyone may do. @default all */
  scopes?: readonly Scope[];
  /** When everyone's credentials expire, in ms since the Unix epoch. @default never */
  expiresAt?: number;
  connectionRate?: { perSecond: number; burst: number };
  /** The rates that are told in `hello`. */
  rates?: RateLimits;
  /** Of everyone who has not the scope `backend`. @default not limited */
  userRates?: Partial<UserRates>;
  /** Who decides who a client is. @default they say so themselves */
  authenticator?: Authenticator;
  /** Whether clients that ask for compression get it. @default false */
  compress?: boolean;
}

export class SessionBroker {
  readonly state: State;
  readonly log: LocalLog;
  readonly streams: Streams;
  readonly cursors: CursorKeeper;
  readonly sessions: Sessions;
  /** Faults of the broker itself: there must be none. */
  readonly faults: unknown[] = [];
  /** How often an outbox was dropped. */
  fallBacks = 0;
  /** Messages that were compressed. */
  compressed = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** How far its clock for pings was moved. */
  #aheadMs = 0;
  readonly #webSockets: WebSocketTransport;
  #isStopped = false;

  static async start(folder: string, options: SessionBrokerOptions = {}): Promise<SessionBroker> {
    const broker = new SessionBroker(await State.open(folder), options);
    await new Promise<void>((resolve) => broker.#server.listen(0, "127.0.0.1", () => resolve()));
    return broker;
  }

  /** One in a folder of its own, both gone when the test ends. */
  static async for(t: Test, options: SessionBrokerOptions = {}): Promise<SessionBroker> {
    const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
    const broker = await SessionBroker.start(folder, options);
    t.teardown(async () => {
      await broker.stop();
      await rm(folder, { recursive: true });
    });
    return broker;
  }

  private constructor(state: State, options: SessionBrokerOptions) {
    const now = options.now ?? Date.now;
    const onFault = (error: unknown): void => void this.faults.push(error);
    this.state = state;
    this.log = new LocalLog(state, {
      listener: (entries, durable) => this.streams.publish(entries, durable),
      now,
      ...(options.fullness === undefined ? {} : { fullness: options.fullness }),
    });
    this.streams = new Streams(state, {
      whenDurable: (offset, callback) => this.log.whenDurable(offset, callback),
      onTooOld: (subscription) => this.sessions.end(subscription, operations.places.tooOld("cursor")),
    });
    this.cursors = new CursorKeeper(state, { onFailure: onFault });
    const unlimited = { perSecond: 1e9, burst: 1e9 };
    const operations = new Operations({
      state,
      log: this.log,
      streams: this.streams,
      cursors: this.cursors,
      intake: new LocalIntake(
        this.log,
        new Rates({ commands: unlimited, bytes: unlimited, reads: unlimited, ...options.userRates }, now),
        state,
      ),
    });
    const authenticator =
      options.authenticator ?? new NameAuthenticator(options.scopes ?? scopes, options.expiresAt);
    this.sessions = new Sessions({
      state,
      streams: this.streams,
      cursors: this.cursors,
      operations,
      authenticator,
      node: "test",
      now,
      elapsed: now,
      ...(options.rates === undefined ? {} : { rates: options.rates }),
      connectionRate: options.connectionRate ?? unlimited,
      timeouts: {
        helloTimeoutMs: options.helloTimeoutMs ?? 60_000,
        noProgressMs: options.noProgressMs ?? 60_000,
      },
      onFault,
      onRefusal: () => {},
      onHello: () => {},
      onFallBack: () => void this.fallBacks++,
    });
    this.#server = createServer().on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    this.#webSockets = new WebSocketTransport({
      server: this.#server,
      sessions: this.sessions,
      authenticator,
      corsOrigins: [],
      pingMs,
      now: () => performance.now() + this.#aheadMs,
      compression: options.compress === true ? { onCompressed: () => void this.compressed++ } : undefined,
      onFault,
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get positions(): State["positions"] {
    return this.state.positions;
  }

  get head(): number {
    return this.streams.head;
  }

  tick(): Promise<void> {
    return this.streams.tick();
  }

  async sessionCount(): Promise<number> {
    return this.sessions.count;
  }

  connect(user: string, options: Omit<SessionClientOptions, "user"> = {}): Promise<SessionClient> {
    return SessionClient.open(this.url, { ...options, user });
  }

  /** Bytes that the kernel has not taken, for all connections: of readers who do not read. */
  get bufferedBytes(): number {
    return [...this.#sockets].reduce((sum, { writableLength }) => sum + writableLength, 0);
  }

  /** Pings every connection, and ends those that answered nothing since the last time. */
  async ping(): Promise<void> {
    for (let isMore = await this.pingAfter(pingMs); isMore;) isMore = await this.pingAfter(0);
  }

  /** Lets `ms` go by for pings, and pings as many as one turn of the event loop allows. True when more are due. */
  async pingAfter(ms: number): Promise<boolean> {
    this.#aheadMs += ms;
    return await this.#webSockets.ping();
  }

  /** Removes all entries up to `floor`. */
  async trim(floor: number): Promise<void> {
    const { error } = await this.log.append({ op: "trim", floor, most: Number.MAX_SAFE_INTEGER });
    if (error !== undefined) throw error;
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#server.close();
    await this.sessions.drain(0);
    await this.log.close();
    await this.streams.settled();
    await this.cursors.close();
    await this.#webSockets.close(60_000); // every client is to close by itself: a test that waits so long has failed
    await this.state.close();
  }
}

/** Whoever connects says who they are. */
class NameAuthenticator implements Authenticator {
  readonly isOpen = true;
  readonly #scopes: ReadonlySet<Scope>;
  readonly #expiresAt: number | undefined;

  constructor(names: readonly Scope[], expiresAt: number | undefined) {
    this.#scopes = new Set(names);
    this.#expiresAt = expiresAt;
  }

  async authenticate({ user }: { user?: string | undefined }): Promise<Principal> {
    if (user === undefined) throw new WhalesongError("unauthenticated", "hello: say who you are");
    return { user: checkHandle(user), scopes: this.#scopes, expiresAt: this.#expiresAt };
  }
}
