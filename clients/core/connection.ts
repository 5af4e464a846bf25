/* Connection: one session after another, over one socket after another.
 *
 *   connecting --hello answered--> ready --socket ends--> waiting --back-off--> connecting
 *       |                            |                       |
 *       '--fails, may mend-----------+---> waiting           |
 *       '--fails for good------------+---> closed <--close()-'
 *
 * `#lose` is the one way out of connecting and ready, `#finish` the one way into closed. Each attempt has a number,
 * and what an earlier one still reports is not heard. A `goodbye` says when to come back; the broker closes.
 * Each attempt goes to the node, and waits the time, that Nodes tells.
 * Request id 0 is the connection's own: `hello` first, `ping` afterwards. Knows neither streams nor other requests. */

import { decode, encode, subprotocols } from "../../protocol/codec.ts";
import { type ErrorBody, WhalesongError } from "../../protocol/errors.ts";
import { limits } from "../../protocol/limits.ts";
import type { ResultOf } from "../../protocol/schemas.ts";
import { ConnectionError, errorOfEnd } from "./errors.ts";
import type { ClientEvents } from "./events.ts";
import { clientLimits } from "./limits.ts";
import type { Listeners } from "./listeners.ts";
import { Nodes } from "./nodes.ts";
import type { Settings } from "./options.ts";
import type { Platform, Socket } from "./platform.ts";
import { encodeRequest } from "./requests.ts";

export type ConnectionState = "connecting" | "ready" | "waiting" | "closed";
export type Hello = ResultOf<"hello">;

/** A frame from the broker, of which no more is known than that it is a map. */
export interface IncomingFrame {
  id?: unknown;
  ok?: unknown;
  error?: unknown;
  sub?: unknown;
  event?: unknown;
  cursor?: unknown;
  reason?: unknown;
  reconnectMs?: unknown;
}

export interface ConnectionOwner {
  /** A session stands. */
  sessionReady(hello: Hello): void;
  /** A frame of the session, `bytes` long. */
  frame(frame: IncomingFrame, bytes: number): void;
  /** The session is gone; another will follow, or `finished`. */
  sessionLost(): void;
  /** There will be no session any more: `error` says why, or nothing when `close()` was called. */
  finished(error: Error | undefined): void;
}

export class Connection {
  readonly #platform: Platform;
  readonly #settings: Settings;
  readonly #owner: ConnectionOwner;
  readonly #events: Listeners<ClientEvents>;
  readonly #nodes: Nodes;
  #state: ConnectionState = "connecting";
  #socket: Socket | undefined;
  /** The number of the present attempt. */
  #turn = 0;
  #token: string | undefined;
  #hello: Hello | undefined;
  #sessionUrl = "";
  #readyAtMs = 0;
  /** When the last `goodbye` said to come back. */
  #comeBackAtMs: number | undefined;
  #badFrames = 0;
  #heard = true;
  #paused = false;
  #onClosed: (() => void) | undefined;
  #cancelTimer: (() => void) | undefined;

  constructor(
    platform: Platform,
    settings: Settings,
    owner: ConnectionOwner,
    events: Listeners<ClientEvents>,
  ) {
    this.#platform = platform;
    this.#settings = settings;
    this.#owner = owner;
    this.#events = events;
    this.#token = settings.token;
    this.#nodes = new Nodes(settings.urls, settings.random);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** The last session's `hello`. */
  get hello(): Hello | undefined {
    return this.#hello;
  }

  /** The URL of the last session's node, as the user wrote it. */
  get sessionUrl(): string {
    return this.#sessionUrl;
  }

  get canPause(): boolean {
    return this.#socket?.pause !== undefined;
  }

  /** The token for the next `hello`. */
  setToken(token: string): void {
    this.#token = token;
  }

  start(): void {
    this.#connect();
  }

  /** Sends a frame of the present session; without one it goes nowhere. */
  send(frame: string | Uint8Array): void {
    if (this.#state === "ready") this.#socket?.send(frame);
  }

  pause(): void {
    this.#paused = true;
    this.#socket?.pause?.();
  }

  resume(): void {
    this.#paused = false;
    // What was not read may have waited in the kernel: silence counts from now on.
    this.#heard = true;
    this.#socket?.resume?.();
  }

  /** Gives the session up and connects anew. */
  drop(reason: string): void {
    if (this.#state === "ready") this.#lose(new ConnectionError("disconnected", reason));
  }

  /** Leaves a node that refused a request with `error` for another, where that may help: what is unanswered, the
   *  refused request too, is asked again there. Answers whether it does. */
  moveOn(error: Error): boolean {
    if (this.#state !== "ready" || this.#settings.backoff === undefined) return false;
    if (!this.#nodes.grantMove(this.#platform.now())) return false;
    // Final for the request, perhaps, but not for the connection.
    this.#lose(new ConnectionError("disconnected", `${this.#url}: ${error.message}`, { cause: error }));
    return true;
  }

  /** Ends the connection; resolves when the socket is closed, or after a second. */
  close(): Promise<void> {
    if (this.#state === "closed") return Promise.resolve();
    const socket = this.#socket;
    const closing = this.#state === "ready" && socket !== undefined ? this.#awaitClosed(socket) : undefined;
    if (closing === undefined) socket?.destroy();
    this.#finish(undefined);
    return closing ?? Promise.resolve();
  }

  #awaitClosed(socket: Socket): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#platform.setTimer(() => {
        socket.destroy();
        resolve();
      }, clientLimits.closeMs);
      this.#onClosed = () => {
        cancel();
        resolve();
      };
      socket.resume?.();
      socket.close(1000, "");
    });
  }

  #connect(): void {
    const turn = ++this.#turn;
    this.#state = "connecting";
    const { connectTimeoutMs, getToken } = this.#settings;
    this.#cancelTimer = this.#platform.setTimer(
      () =>
        this.#lose(
          new ConnectionError("disconnected", `${this.#url}: no session within ${connectTimeoutMs} ms`),
        ),
      connectTimeoutMs,
    );
    if (getToken === undefined) {
      this.#open(turn);
      return;
    }
    void this.#openWithToken(turn, getToken);
  }

  /** Never rejects. */
  async #openWithToken(turn: number, getToken: () => Promise<string> | string): Promise<void> {
    try {
      const token = await getToken();
      if (turn !== this.#turn) return;
      this.#token = token;
    } catch (error) {
      if (turn !== this.#turn) return;
      const failure = error instanceof Error ? error : new Error("getToken failed", { cause: error });
      // Nobody has a client yet to hear `error` on: the caller of connect() is told.
      if (this.#hello === undefined) this.#finish(failure);
      else this.#lose(failure);
      return;
    }
    this.#open(turn);
  }

  get #url(): string {
    return this.#nodes.url.socket;
  }

  #open(turn: number): void {
    const { codec } = this.#settings;
    try {
      this.#socket = this.#platform.openSocket(this.#url, subprotocols[codec], {
        opened: () => {
          if (turn === this.#turn) this.#sayHello();
        },
        message: (frame) => {
          if (turn === this.#turn) this.#receive(frame);
        },
        closed: (end) => {
          if (turn === this.#turn) this.#lose(errorOfEnd(this.#url, end));
          else if (this.#state === "closed") this.#onClosed?.();
        },
      });
    } catch (cause) {
      this.#lose(new ConnectionError("refused", `${this.#url}: ${String(cause)}`, { cause }));
    }
  }

  #sayHello(): void {
    const { user, device, as, client, codec } = this.#settings;
    const token = this.#token;
    this.#socket?.send(
      encodeRequest(codec, 0, "hello", {
        ...(token === undefined ? { user } : { token }),
        device,
        as,
        client,
      }),
    );
  }

  #receive(data: string | Uint8Array): void {
    this.#heard = true;
    let frame: unknown;
    try {
      frame = decode(this.#settings.codec, data);
      if (typeof frame !== "object" || frame === null || Array.isArray(frame)) {
        throw new WhalesongError("bad_frame", "a frame of the broker is not a map");
      }
    } catch (error) {
      this.#refuseFrame(error as Error);
      return;
    }
    const incoming = frame as IncomingFrame;
    if (incoming.event === "goodbye") this.#hearGoodbye(incoming);
    else if (incoming.id !== 0) this.#owner.frame(incoming, data.length);
    else if (this.#state === "connecting") this.#answerHello(incoming);
  }

  #refuseFrame(error: Error): void {
    this.#events.emit("error", error);
    this.#badFrames++;
    if (this.#badFrames < limits.badFrames || this.#socket === undefined) return;
    this.#lose(
      new ConnectionError("disconnected", `${this.#url}: ${this.#badFrames} frames could not be read`),
    );
  }

  #hearGoodbye(frame: IncomingFrame): void {
    const asked = typeof frame.reconnectMs === "number" ? frame.reconnectMs : 0;
    const reason = typeof frame.reason === "string" ? frame.reason : "";
    const reconnectMs = Math.max(0, Math.min(asked, clientLimits.goodbyeMs));
    this.#comeBackAtMs = this.#platform.now() + reconnectMs;
    this.#events.emit("goodbye", { reason, reconnectMs });
  }

  #answerHello(frame: IncomingFrame): void {
    const refusal = errorOfFrame(frame);
    if (refusal !== undefined) {
      this.#lose(refusal);
      return;
    }
    if (!isHello(frame.ok)) {
      this.#lose(new ConnectionError("refused", `${this.#url}: hello was answered with something else`));
      return;
    }
    this.#cancelTimer?.();
    this.#state = "ready";
    this.#hello = frame.ok;
    this.#sessionUrl = this.#nodes.url.given;
    this.#readyAtMs = this.#platform.now();
    this.#badFrames = 0;
    this.#watchForSilence();
    this.#owner.sessionReady(this.#hello);
  }

  /** Asks for a sign of life after a silence; a second silence ends the session. */
  #watchForSilence(asked = false): void {
    if (this.#settings.heartbeatMs === 0) return;
    this.#heard = false;
    this.#cancelTimer = this.#platform.setTimer(() => {
      if (this.#heard || this.#paused) {
        this.#watchForSilence();
      } else if (asked) {
        this.drop(`${this.#url}: not a sign of life in ${2 * this.#settings.heartbeatMs} ms`);
      } else {
        this.#socket?.send(encode(this.#settings.codec, { id: 0, op: "ping" }));
        this.#watchForSilence(true);
      }
    }, this.#settings.heartbeatMs);
  }

  /** The present attempt or session is over. */
  #lose(error: Error): void {
    const wasReady = this.#state === "ready";
    this.#leaveSocket()?.destroy();
    if (wasReady) this.#owner.sessionLost();
    const { backoff } = this.#settings;
    if (backoff === undefined || this.#isFinal(error)) {
      this.#finish(error);
      return;
    }
    const nowMs = this.#platform.now();
    if (wasReady && nowMs - this.#readyAtMs >= clientLimits.stableMs) this.#nodes.settled();
    const retryInMs = this.#nodes.next({
      nowMs,
      backoff,
      hadSession: wasReady,
      retryAfterMs: error instanceof WhalesongError ? (error.details.retryAfterMs ?? 0) : 0,
      comeBackAtMs: this.#comeBackAtMs,
    });
    this.#comeBackAtMs = undefined;
    this.#state = "waiting";
    this.#cancelTimer = this.#platform.setTimer(() => this.#connect(), retryInMs);
    if (wasReady) this.#events.emit("disconnect", { error, retryInMs, nextUrl: this.#nodes.url.given });
    else this.#events.emit("error", error);
  }

  /** Whether `error` will come again at the next attempt, at whatever node. That one URL leads to no broker does not
   *  say so, as long as another may. */
  #isFinal(error: Error): boolean {
    if (error instanceof ConnectionError && error.code === "refused" && error.closeCode === undefined) {
      return this.#nodes.noteWrong();
    }
    this.#nodes.noteBroker();
    return (error instanceof WhalesongError || error instanceof ConnectionError) && !error.retryable;
  }

  #finish(error: Error | undefined): void {
    if (this.#state === "closed") return;
    const wasReady = this.#state === "ready";
    this.#leaveSocket();
    this.#state = "closed";
    if (wasReady) this.#owner.sessionLost();
    this.#owner.finished(error);
  }

  #leaveSocket(): Socket | undefined {
    const socket = this.#socket;
    this.#turn++;
    this.#socket = undefined;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    return socket;
  }
}

function isHello(ok: unknown): ok is Hello {
  if (typeof ok !== "object" || ok === null) return false;
  const { user, limits: sessionLimits } = ok as Partial<Hello>;
  return typeof user === "string" && typeof sessionLimits === "object" && sessionLimits !== null;
}

/** The error a frame carries; undefined when it carries none. */
export function errorOfFrame(frame: IncomingFrame): WhalesongError | undefined {
  const { error } = frame;
  if (error === undefined) return undefined;
  if (typeof error === "object" && error !== null && typeof (error as ErrorBody).code === "string") {
    return WhalesongError.fromBody(error as ErrorBody);
  }
  return new WhalesongError("internal", "the broker answered with an error of an unknown shape");
}
