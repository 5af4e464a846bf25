/* Requests: what was asked and is not answered yet.
 *
 *   waiting --in the window--> sent --answer--> done
 *      ^-----session lost--------'   --deadline--> done
 *
 * At most `inFlight` requests of a session are sent and unanswered (the broker reads no further); the others wait
 * here, in the order they were asked. A lost session makes those that are `resend` wait again, under their old ids:
 * every operation may be applied twice, since a post carries its key. The others belong to their session and go with
 * it, silently. Frames are encoded when asked, so that what the caller changes later does not travel.
 * Knows neither sockets nor subscriptions. */

import { type CodecName, encode, isJson } from "../../protocol/codec.ts";
import { WhalesongError } from "../../protocol/errors.ts";
import { limits } from "../../protocol/limits.ts";
import type { Op } from "../../protocol/schemas.ts";
import { ConnectionError } from "./errors.ts";
import { clientLimits } from "./limits.ts";
import type { Platform } from "./platform.ts";

type Frame = string | Uint8Array;

interface Pending {
  readonly id: number;
  readonly op: Op;
  readonly frame: Frame;
  readonly bytes: number;
  readonly deadline: number;
  readonly resend: boolean;
  readonly resolve: (ok: unknown) => void;
  readonly reject: (error: Error) => void;
  sent: boolean;
}

export interface Ask {
  op: Op;
  fields: object;
  /** Whether the request outlives its session. */
  resend: boolean;
  resolve: (ok: unknown) => void;
  reject: (error: Error) => void;
}

export class Requests {
  readonly #platform: Platform;
  readonly #codec: CodecName;
  readonly #timeoutMs: number;
  /** By id; in the order asked, which is also the order of deadlines. */
  readonly #pending = new Map<number, Pending>();
  /** Those not sent yet, from `#next` on; may hold some that are done meanwhile. */
  #queue: Pending[] = [];
  #next = 0;
  #bytes = 0;
  #inFlight = 0;
  #window = 0;
  #frameBytes: number = limits.frameBytes;
  #send: ((frame: Frame) => void) | undefined;
  #lastId = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(platform: Platform, codec: CodecName, timeoutMs: number) {
    this.#platform = platform;
    this.#codec = codec;
    this.#timeoutMs = timeoutMs;
  }

  /** Requests without an answer. */
  get size(): number {
    return this.#pending.size;
  }

  /** Sends the request, or keeps it until it can be sent. @throws when it cannot be encoded, is too large, or there
   *  is no room for it; then nothing is kept. */
  add(ask: Ask): void {
    const id = this.#lastId + 1;
    const frame = encodeRequest(this.#codec, id, ask.op, ask.fields);
    const bytes = this.#checkSize(ask.op, frame);
    if (this.#pending.size >= clientLimits.requests || this.#bytes + bytes > clientLimits.requestBytes) {
      throw new ConnectionError(
        "too_many_requests",
        `${ask.op}: ${this.#pending.size} requests of ${this.#bytes} bytes wait for their answers; ` +
          `at most ${clientLimits.requests} of ${clientLimits.requestBytes} bytes may; await some first`,
      );
    }
    this.#lastId = id;
    const deadline = this.#timeoutMs > 0 ? this.#platform.now() + this.#timeoutMs : Infinity;
    const { op, resend, resolve, reject } = ask;
    const pending: Pending = { id, op, frame, bytes, deadline, resend, resolve, reject, sent: false };
    this.#pending.set(id, pending);
    this.#bytes += bytes;
    const free = !resend || (this.#inFlight < this.#window && this.#next === this.#queue.length);
    if (this.#send !== undefined && free) {
      this.#sendNow(pending, this.#send);
    } else {
      this.#queue.push(pending);
    }
    this.#watch();
  }

  /** Whether the request `id` was sent in this session and is unanswered. */
  isSent(id: number): boolean {
    return this.#pending.get(id)?.sent === true;
  }

  /** Settles the request `id`; an answer to none that waits is ignored. */
  answer(id: number, ok: unknown, error: Error | undefined): void {
    const pending = this.#pending.get(id);
    if (pending === undefined || !pending.sent) return;
    this.#remove(pending);
    if (error !== undefined) pending.reject(error);
    else if (typeof ok === "object" && ok !== null) pending.resolve(ok);
    else
      pending.reject(
        new WhalesongError("internal", `${pending.op}: the broker's answer is neither ok nor error`),
      );
    this.sendWaiting();
  }

  /** A session stands, and takes requests through `send`. What waited stays waiting until `sendWaiting`, so that
   *  subscriptions go first. */
  sessionReady(
    send: (frame: Frame) => void,
    sessionLimits: { inFlight?: number; frameBytes?: number },
  ): void {
    this.#send = send;
    this.#window = Math.max(1, sessionLimits.inFlight ?? limits.inFlight);
    this.#frameBytes = sessionLimits.frameBytes ?? limits.frameBytes;
  }

  /** Sends what waits, as far as the window allows. */
  sendWaiting(): void {
    if (this.#send === undefined) return;
    while (this.#inFlight < this.#window && this.#next < this.#queue.length) {
      const pending = this.#queue[this.#next++] as Pending;
      if (this.#pending.has(pending.id)) this.#sendNow(pending, this.#send);
    }
    if (this.#next === this.#queue.length) {
      if (this.#next > 0) this.#queue = [];
      this.#next = 0;
    } else if (this.#next >= 4_096) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
  }

  /** The session is gone: what it left unanswered waits for the next, or goes. */
  sessionLost(): void {
    this.#send = undefined;
    this.#inFlight = 0;
    for (const pending of this.#pending.values()) {
      pending.sent = false;
      if (!pending.resend) this.#remove(pending);
    }
    this.#queue = [...this.#pending.values()];
    this.#next = 0;
  }

  /** Refuses all that waits with `error`. */
  rejectAll(error: Error): void {
    this.sessionLost();
    const all = this.#queue;
    this.#queue = [];
    this.#pending.clear();
    this.#bytes = 0;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const pending of all) pending.reject(error);
  }

  #checkSize(op: Op, frame: Frame): number {
    const bytes =
      typeof frame !== "string"
        ? frame.length
        : frame.length * 3 <= this.#frameBytes
          ? frame.length
          : utf8Bytes(frame);
    if (bytes > this.#frameBytes) {
      throw new WhalesongError(
        "too_large",
        `${op}: the frame has ${bytes} bytes; at most ${this.#frameBytes} may be sent`,
      );
    }
    return bytes;
  }

  #sendNow(pending: Pending, send: (frame: Frame) => void): void {
    pending.sent = true;
    this.#inFlight++;
    send(pending.frame);
  }

  #remove(pending: Pending): void {
    this.#pending.delete(pending.id);
    this.#bytes -= pending.bytes;
    if (pending.sent) this.#inFlight--;
  }

  /** One timer for all: it stands at the oldest deadline. */
  #watch(): void {
    if (this.#cancelTimer !== undefined || this.#timeoutMs === 0) return;
    for (const oldest of this.#pending.values()) {
      const ms = Math.min(clientLimits.timerMs, Math.max(1, oldest.deadline - this.#platform.now()));
      this.#cancelTimer = this.#platform.setTimer(() => this.#expire(), ms);
      return;
    }
  }

  #expire(): void {
    this.#cancelTimer = undefined;
    const now = this.#platform.now();
    const expired: Pending[] = [];
    for (const pending of this.#pending.values()) {
      if (pending.deadline > now) break;
      expired.push(pending);
    }
    for (const pending of expired) this.#remove(pending);
    for (const { op, reject } of expired) {
      const message = `${op}: no answer within ${this.#timeoutMs} ms; whether it took effect is unknown`;
      reject(new ConnectionError("timeout", message));
    }
    this.sendWaiting();
    this.#watch();
  }
}

/** The frame of a request; fields that are undefined are left out. */
export function encodeRequest(codec: CodecName, id: number | undefined, op: Op, fields: object): Frame {
  const message: Record<string, unknown> = id === undefined ? { op } : { id, op };
  for (const name of Object.keys(fields)) {
    const value = plain((fields as Record<string, unknown>)[name]);
    if (value !== undefined) message[name] = value;
  }
  return encode(codec, message);
}

/** `value` as JSON would carry it, so that both codecs send the same: a Date as its text, no undefined fields.
 *  @throws TypeError for what JSON cannot: a BigInt, a circle. */
function plain(value: unknown): unknown {
  if (value === undefined || isJson(value, limits.dataDepth)) return value;
  const json = JSON.stringify(value) as string | undefined;
  return json === undefined ? undefined : (JSON.parse(json) as unknown);
}

function utf8Bytes(text: string): number {
  let bytes = 0;
  for (const char of text) {
    const code = char.codePointAt(0) as number;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}
