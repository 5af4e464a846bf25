/* Sessions: all that are connected, and what they share. */

import { randomBytes } from "node:crypto";

import type { ErrorCode, RateLimits, WhalesongError } from "../../protocol/index.ts";
import type { State } from "../state/index.ts";
import type { Streams, Subscription } from "../streams/index.ts";
import type { Authenticator } from "./authenticator.ts";
import type { Connection } from "./connection.ts";
import type { Cursors } from "./cursor-keeper.ts";
import type { Operations } from "./operations.ts";
import { Session } from "./session.ts";
import { type OnSharedCursor, SharedCursorWatch } from "./shared-cursor.ts";
import type { Rate } from "./token-bucket.ts";
import { UserConnections } from "./user-connections.ts";

/** How long after a drain the first clients come back at the earliest, in ms. */
const leastAwayMs = 500;
/** Over how long clients come back at the least, in ms. */
const leastSpreadMs = 1_000;
/** Sessions checked in one turn of the event loop. */
const checkStride = 1_000;
/** Between two checks, in ms: after longer this process did not run. */
const standstillMs = 5_000;

export interface SessionServices {
  state: State;
  streams: Streams;
  cursors: Cursors;
  operations: Operations;
  authenticator: Authenticator;
  /** This node's name. */
  node: string;
  /** ms since the Unix epoch. */
  now: () => number;
  /** ms that have gone by since whenever: what times out, and what rates count by. Nobody sets it. */
  elapsed: () => number;
  connectionRate: Rate;
  userConnections: UserConnections;
  /** The rates that clients are told. @default none */
  rates?: RateLimits;
  timeouts: { helloTimeoutMs: number; noProgressMs: number };
  onFault: (error: unknown) => void;
  onRefusal: (code: ErrorCode) => void;
  onFallBack: () => void;
  /** A client said who it is: its session's id, its user, and its own name and version if it gave them. */
  onHello: (session: string, user: string, client: string | undefined) => void;
  /** Notices durable cursors from which several sessions resume. */
  sharedCursors: SharedCursorWatch;
  onClosed: (session: Session) => void;
}

export interface SessionsParts extends Omit<
  SessionServices,
  "onClosed" | "userConnections" | "sharedCursors"
> {
  /** Hears of a durable cursor from which several sessions resume at once; once in a while for each. */
  onSharedCursor?: OnSharedCursor;
  /** Of one user, at once. @default not limited */
  maxUserConnections?: number;
}

export class Sessions {
  readonly #services: SessionServices;
  readonly #startedAt: number;
  #checkedAt: number;
  /** When each was opened, in ms since the start: small numbers, which take no memory of their own. */
  readonly #openedAt = new Map<Session, number>();
  #opened = 0;

  constructor({ maxUserConnections = Infinity, onSharedCursor = () => {}, ...services }: SessionsParts) {
    this.#startedAt = services.elapsed();
    this.#checkedAt = this.#startedAt;
    this.#services = {
      ...services,
      sharedCursors: new SharedCursorWatch(onSharedCursor),
      userConnections: new UserConnections(maxUserConnections),
      onClosed: (session) => this.#openedAt.delete(session),
    };
  }

  get count(): number {
    return this.#openedAt.size;
  }

  /** Sessions opened since the start. */
  get opened(): number {
    return this.#opened;
  }

  open(connection: Connection): Session {
    const session = new Session(randomBytes(9).toString("base64url"), connection, this.#services);
    this.#openedAt.set(session, this.#services.elapsed() - this.#startedAt);
    this.#opened++;
    return session;
  }

  /** Closes sessions that make no progress. Called every second or so; if much later, this process stood still itself. */
  async check(): Promise<void> {
    const now = this.#services.elapsed();
    const stoodStill = now - this.#checkedAt > standstillMs;
    this.#checkedAt = now;
    if (stoodStill) this.#beginTimesAnew(now);
    let done = 0;
    for (const [session, openedAt] of this.#openedAt) {
      session.check(now, this.#startedAt + openedAt);
      if (++done % checkStride === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** What clients did while nobody looked is not known yet: none is closed for that time. */
  #beginTimesAnew(now: number): void {
    for (const session of this.#openedAt.keys()) {
      this.#openedAt.set(session, now - this.#startedAt);
      session.excuse(now);
    }
  }

  /** Ends a subscription whose entries are gone. */
  end(subscription: Subscription, error: WhalesongError): void {
    (subscription.sink as Session).end(subscription, error);
  }

  /** Lets all sessions go over `drainMs`, each told to come back at a different time after that. */
  async drain(drainMs: number): Promise<void> {
    const sessions = [...this.#openedAt.keys()];
    const slots = Math.max(1, Math.min(sessions.length, Math.ceil(drainMs / 20)));
    for (let slot = 0; slot < slots; slot++) {
      for (let i = slot; i < sessions.length; i += slots) {
        // After the drain is over, spread evenly over as long again: multiples of the golden ratio never come close.
        const leftMs = drainMs * (1 - slot / slots) + leastAwayMs;
        const spread = ((i * 0.618_033_988_75) % 1) * Math.max(drainMs, leastSpreadMs);
        sessions[i]!.goodbye("draining", Math.round(leftMs + spread));
      }
      if (slot < slots - 1) await new Promise((resolve) => setTimeout(resolve, drainMs / slots));
    }
  }
}
