/* Requests: what was asked and is not answered yet.
 *
 *   waiting --in the window--> sent --answer--> done
 *      ^-----session lost--------'   --deadline--> done
 *
 * At most `inFlight` requests of a session are sent and unanswered (the broker reads no further); the others wait
 * here, in the order they were asked. A lost session makes those that are `resend` wait again, under their old ids:
 * every operation may be applied twice, since a post carries its key. The others belong to their session and go with
 * it, silently. Frames are encoded when asked, so that what the caller changes later does not travel.
 *
 * Commands are sent no faster than the broker's rates, which `hello` tells, let them through (pace.ts). So they keep their order. A
 * request that is refused as `rate_limited` nevertheless has not taken effect. It waits as long as the broker asked, and is sent again under its old
 * id, within the bounds of `connect()`'s option `rateLimit`. Those behind it wait too. Commands and reads have a lane each, since
 * the broker has a rate of its own for commands: reading goes on while writing is held back. The time spent
 * waiting for the rate does not count as time without an answer.
 * Knows neither sockets nor subscriptions. */

import { type CodecName, encode, isJson } from "../../protocol/codec.ts";
import { WhalesongError } from "../../protocol/errors.ts";
import { limits, type RateLimits } from "../../protocol/limits.ts";
import type { Op } from "../../protocol/schemas.ts";
import { backoffMs } from "./backoff.ts";
import { ConnectionError } from "./errors.ts";
import { type InLane, Lane } from "./lane.ts";
import { clientLimits } from "./limits.ts";
import { Pace } from "./pace.ts";
import type { RateLimitOptions, Settings } from "./options.ts";
import type { Platform } from "./platform.ts";

type Frame = string | Uint8Array;

interface Pending extends InLane {
  readonly op: Op;
  readonly frame: Frame;
  readonly bytes: number;
  readonly lane: Lane<Pending>;
  readonly resend: boolean;
  readonly resolve: (ok: unknown) => void;
  readonly reject: (error: Error) => void;
  /** When the last answer may come, by the platform's clock. */
  deadline: number;
  /** Refusals for the rate so far. */
  refusals: number;
  /** Since when it waits for the broker's rate; undefined while it does not. */
  heldSinceMs: number | undefined;
}

/** Operations that read: the rate of a user's commands does not hold them back. */
const readOps = new Set<Op>(["ping", "get", "following", "followers", "relationship", "read", "cursor"]);

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
  readonly #rateLimit: RateLimitOptions;
  readonly #random: () => number;
  /** By id, in the order of deadlines. That is the order asked, too, but for those that waited for the rate. */
  readonly #pending = new Map<number, Pending>();
  /** Streams and tokens: what the session itself needs goes before everything else. */
  readonly #ofSession = new Lane<Pending>();
  readonly #commands = new Lane<Pending>();
  readonly #reads = new Lane<Pending>();
  readonly #lanes = [this.#ofSession, this.#commands, this.#reads];
  /** Of commands, where the broker has a rate for them. */
  #pace: Pace | undefined;
  readonly #cancelHolds = new Set<() => void>();
  #bytes = 0;
  #inFlight = 0;
  #window = 0;
  #frameBytes: number = limits.frameBytes;
  #send: ((frame: Frame) => void) | undefined;
  #lastId = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(
    platform: Platform,
    settings: Pick<Settings, "codec" | "requestTimeoutMs" | "rateLimit" | "random">,
  ) {
    this.#platform = platform;
    this.#codec = settings.codec;
    this.#timeoutMs = settings.requestTimeoutMs;
    this.#rateLimit = settings.rateLimit;
    this.#random = settings.random;
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
    const { op, resend, resolve, reject } = ask;
    const lane = !resend || op === "auth" ? this.#ofSession : readOps.has(op) ? this.#reads : this.#commands;
    const pending: Pending = {
      id,
      op,
      frame,
      bytes,
      lane,
      resend,
      resolve,
      reject,
      state: "waiting",
      deadline: this.#deadline(),
      refusals: 0,
      heldSinceMs: undefined,
    };
    this.#pending.set(id, pending);
    this.#bytes += bytes;
    const isFree = lane.isFree && (lane === this.#ofSession || this.#inFlight < this.#window);
    if (this.#send !== undefined && isFree) {
      this.#sendNow(pending, this.#send);
    } else {
      if (lane.isHeldBack) pending.heldSinceMs = this.#platform.now();
      lane.add(pending);
    }
    this.#watch();
  }

  /** Whether the request `id` was sent in this session and is unanswered. */
  isSent(id: number): boolean {
    return this.#pending.get(id)?.state === "sent";
  }

  /** Settles the request `id`, unless it waits for the broker's rate. An answer to none that was sent is ignored. */
  answer(id: number, ok: unknown, error: Error | undefined): void {
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.state !== "sent") return;
    if (this.#rateLimit.maxRefusals > 0 && error instanceof WhalesongError && error.code === "rate_limited") {
      this.#hold(pending, error);
      return;
    }
    this.#inFlight--;
    pending.lane.answered();
    this.#forget(pending);
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
    sessionLimits: RateLimits & { inFlight?: number; frameBytes?: number },
  ): void {
    this.#send = send;
    this.#window = Math.max(1, sessionLimits.inFlight ?? limits.inFlight);
    this.#frameBytes = sessionLimits.frameBytes ?? limits.frameBytes;
    const isWaiting = this.#rateLimit.maxRefusals > 0;
    this.#pace = isWaiting ? Pace.of(sessionLimits, this.#platform.now(), this.#pace) : undefined;
  }

  /** Sends what waits, as far as the window allows. */
  sendWaiting(): void {
    if (this.#send === undefined) return;
    for (;;) {
      const first = this.#ofSession.peek() ?? (this.#inFlight < this.#window ? this.#peek() : undefined);
      if (first === undefined) return;
      this.#sendNow(first, this.#send);
    }
  }

  #peek(): Pending | undefined {
    const command = this.#commands.peek();
    const read = this.#reads.peek();
    if (command === undefined || read === undefined) return command ?? read;
    return command.id < read.id ? command : read;
  }

  /** The session is gone: what it left unanswered waits for the next, or goes. */
  sessionLost(): void {
    this.#send = undefined;
    this.#inFlight = 0;
    for (const pending of this.#pending.values()) {
      if (pending.resend) pending.state = "waiting";
      else this.#forget(pending);
    }
    const waiting = [...this.#pending.values()].sort((a, b) => a.id - b.id);
    for (const lane of this.#lanes) {
      lane.restart(waiting.filter((pending) => pending.lane === lane));
    }
  }

  /** Refuses all that waits with `error`. */
  rejectAll(error: Error): void {
    this.sessionLost();
    const all = [...this.#pending.values()].sort((a, b) => a.id - b.id);
    this.#pending.clear();
    for (const lane of this.#lanes) lane.restart([]);
    this.#bytes = 0;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const cancel of this.#cancelHolds) cancel();
    this.#cancelHolds.clear();
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
    pending.lane.sent(pending);
    pending.state = "sent";
    if (pending.heldSinceMs !== undefined) this.#renew(pending);
    this.#inFlight++;
    send(pending.frame);
    if (this.#pace === undefined || pending.lane !== this.#commands) return;
    const waitMs = this.#pace.spend(this.#platform.now());
    if (waitMs > 0) this.#holdLane(pending.lane, waitMs);
  }

  /** Takes a request that was sent or waits out of everything but its lane's account of sent ones. */
  #forget(pending: Pending): void {
    pending.state = "done";
    this.#pending.delete(pending.id);
    this.#bytes -= pending.bytes;
  }

  /** `pending` was refused for its rate: its lane is held, and it waits at its place there, or is given up. */
  #hold(pending: Pending, refusal: WhalesongError): void {
    const { lane } = pending;
    const nowMs = this.#platform.now();
    this.#inFlight--;
    lane.refused();
    if (lane === this.#commands) this.#pace?.empty(nowMs);
    const askedMs = refusal.details.retryAfterMs ?? 0;
    // Jitter on top, and the more of it the more often in a row: others may wait for the same rate.
    const jitter = { initialMs: Math.max(clientLimits.holdMs, askedMs), maxMs: clientLimits.holdJitterMs };
    const holdMs = askedMs + backoffMs(lane.refusalsInARow - 1, jitter, this.#random);
    pending.heldSinceMs ??= nowMs;
    pending.refusals++;
    const { maxRefusals, maxWaitMs } = this.#rateLimit;
    if (pending.refusals > maxRefusals || nowMs + askedMs - pending.heldSinceMs > maxWaitMs) {
      this.#forget(pending);
      pending.reject(refusal);
    } else {
      pending.state = "waiting";
      this.#renew(pending);
      lane.putBack(pending);
    }
    this.#holdLane(lane, holdMs);
    this.sendWaiting();
  }

  /** Holds the lane for so long, or as long as it is held already. */
  #holdLane(lane: Lane<Pending>, holdMs: number): void {
    if (lane.hold(this.#platform.now() + holdMs)) this.#releaseAfter(lane, holdMs);
  }

  #releaseAfter(lane: Lane<Pending>, holdMs: number): void {
    const ms = Math.min(Math.ceil(holdMs), clientLimits.timerMs);
    const cancel = this.#platform.setTimer(() => {
      this.#cancelHolds.delete(cancel);
      const leftMs = lane.release(this.#platform.now());
      if (leftMs > 0) this.#releaseAfter(lane, leftMs);
      else this.sendWaiting();
    }, ms);
    this.#cancelHolds.add(cancel);
  }

  #deadline(): number {
    return this.#timeoutMs > 0 ? this.#platform.now() + this.#timeoutMs : Infinity;
  }

  /** The time for an answer begins anew. */
  #renew(pending: Pending): void {
    if (this.#timeoutMs === 0) return;
    pending.deadline = this.#deadline();
    this.#pending.delete(pending.id);
    this.#pending.set(pending.id, pending);
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
    const nowMs = this.#platform.now();
    const due: Pending[] = [];
    for (const pending of this.#pending.values()) {
      if (pending.deadline > nowMs) break;
      due.push(pending);
    }
    const failures: { pending: Pending; error: Error }[] = [];
    for (const pending of due) {
      const isHeld = pending.state === "waiting" && pending.lane.isHeldBack;
      if (isHeld) pending.heldSinceMs ??= nowMs - this.#timeoutMs;
      const heldMs = isHeld ? nowMs - (pending.heldSinceMs as number) : undefined;
      if (heldMs !== undefined && heldMs < this.#rateLimit.maxWaitMs) {
        this.#renew(pending);
        continue;
      }
      if (pending.state === "sent") {
        this.#inFlight--;
        pending.lane.dropped();
      }
      this.#forget(pending);
      failures.push({ pending, error: this.#failureOf(pending, heldMs) });
    }
    for (const { pending, error } of failures) pending.reject(error);
    this.sendWaiting();
    this.#watch();
  }

  #failureOf({ op }: Pending, heldMs: number | undefined): Error {
    if (heldMs === undefined) {
      const message = `${op}: no answer within ${this.#timeoutMs} ms; whether it took effect is unknown`;
      return new ConnectionError("timeout", message);
    }
    return new WhalesongError(
      "rate_limited",
      `${op}: not sent, since requests before it were held back by the broker's rate for ${Math.round(heldMs)} ms; ` +
        "ask for less at once, or raise rateLimit.maxWaitMs",
    );
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
