/* Connection: one client of a target, as small as can be, for thousands in one process.
 *
 *   opening ──the script's last answer──> ready ──> closed
 *
 * It says what its script says and finds stamps in what comes, without decoding anything: a client that decodes would do
 * ten times the work for a message, and the load would be measured instead of the target. All connections of a process
 * read into one buffer.
 *
 *     … gap … │ stamp  filler │ … gap … │ stamp  filler │ … gap …
 *
 * A message is a payload of known length; what the target wraps around it is gap. Gaps are mostly of one length, so the
 * next stamp is looked for there first. What is compressed goes through the script's decoder before. */

import { type Socket, connect } from "node:net";
import { connect as connectTls } from "node:tls";

import type { Address, Decoder, Script } from "./dialect.ts";
import { isStamp, marker, nowMicros, readMicros, readSequence, stampBytes } from "./stamp.ts";

export interface ConnectionOptions {
  address: Address;
  /** Where it connects from, so that more connections than there are ports can be made to one target. */
  localAddress?: string | undefined;
  script: Script;
  /** Needed to find messages. */
  payloadBytes?: number;
  /** It reads into a small buffer of its own, so that it can be made to read slowly. */
  readsSmall?: boolean;
  /** It has been let in: the last step of its script has been sent. */
  onLetIn?: (() => void) | undefined;
  onReady: () => void;
  /** A message came: its sequence, the time on its stamp, and when it was read. */
  onMessage?: ((sequence: number, micros: number, receivedMicros: number) => void) | undefined;
  /** How much came, for every chunk of it, from its opening on. */
  onBytes?: ((count: number) => void) | undefined;
  /** Every chunk that comes once it is ready, before its messages are looked for. */
  onChunk?: ((bytes: Buffer) => void) | undefined;
  /** The connection ended or was refused. Called once, and never after `close`. */
  onEnd: (error: Error) => void;
}

/** Every connection of the process reads into it: what is read is looked at before anything else is read. */
const shared = Buffer.allocUnsafe(65_536);
/** Bytes kept of an answer that has not come whole, to look for its end and to tell of. */
const keptBytes = 512;
/** What a reader that can be slow reads at once. */
const smallBytes = 1_024;

/** The length of the gap seen last. One for the process: all its connections get alike frames. */
let usualGap = 0;
/** When the chunk at hand was read: the clock is asked once for all its messages. */
let receivedMicros = 0;

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  readonly #decoder: Decoder | undefined;
  #step = 0;
  #state: "opening" | "ready" | "closed" = "opening";
  /** What came last of an answer that is waited for, or without a message. */
  #kept: Buffer | undefined;
  /** Bytes of the payload at hand that are still to come. */
  #skip = 0;
  /** Bytes of the gap that came in chunks before. */
  #gap = 0;
  /** The beginning of what may be a stamp. */
  #rest: Buffer | undefined;
  #bytesPerSecond: number | undefined;
  #slowTimer: NodeJS.Timeout | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#decoder = options.script.decoder?.();
    const { host, port, tls } = options.address;
    const buffer = options.readsSmall === true ? Buffer.allocUnsafe(smallBytes) : shared;
    const socketOptions = {
      host,
      port,
      noDelay: true,
      ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
      onread: {
        buffer,
        callback: (count: number, bytes: Uint8Array) => this.#onRead(count, bytes as Buffer),
      },
    };
    this.#socket = tls === true ? connectTls({ ...socketOptions, servername: host }) : connect(socketOptions);
    this.#socket.once(tls === true ? "secureConnect" : "connect", () => this.#say());
    this.#socket.on("error", (error) => this.#end(error));
    this.#socket.on("close", () =>
      this.#end(new Error(`the target closed the connection${this.#lastWords()}`)),
    );
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** Says that it is there, once it is ready. */
  keepAlive(bytes: Buffer): void {
    if (this.#state === "ready") this.#socket.write(bytes);
  }

  /** Writes that follow leave together, at the end of this turn of the event loop. */
  gather(): void {
    if (this.#socket.writableCorked > 0) return;
    this.#socket.cork();
    setImmediate(() => this.#socket.uncork());
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  /** Drops the connection. */
  close(): void {
    this.#state = "closed";
    clearTimeout(this.#slowTimer);
    this.#socket.destroy();
  }

  /** From now on as they come. */
  hurry(): void {
    this.#bytesPerSecond = undefined;
    clearTimeout(this.#slowTimer);
    this.#socket.resume();
  }

  /** From now on so many bytes a second and no more. Only for one with `readsSmall`. */
  slowDown(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond;
  }

  #onRead(count: number, bytes: Buffer): boolean {
    receivedMicros = nowMicros();
    this.#options.onBytes?.(count);
    this.#take(bytes, count);
    if (this.#bytesPerSecond === undefined || this.#state !== "ready") return true;
    this.#slowTimer = setTimeout(() => this.#socket.resume(), (count / this.#bytesPerSecond) * 1_000);
    return false;
  }

  #say(): void {
    const { script, onLetIn } = this.#options;
    const step = script.steps[this.#step];
    if (step !== undefined) this.#socket.write(step.send);
    if (this.#step === script.steps.length - 1) onLetIn?.();
  }

  #take(buffer: Buffer, count: number): void {
    const { steps } = this.#options.script;
    const isLast = this.#step >= steps.length - 1;
    if (this.#state === "opening") this.#await(buffer.subarray(0, count));
    else this.#options.onChunk?.(buffer.subarray(0, count));
    if (this.#state === "closed") return;
    if (this.#options.onMessage === undefined || !isLast) return;
    if (this.#decoder === undefined) this.#look(buffer, count);
    else this.#decoder(buffer.subarray(0, count), (payload) => this.#look(payload, payload.length));
  }

  /** Looks for messages in what follows what came before. */
  #look(buffer: Buffer, count: number): void {
    if (this.#rest === undefined) {
      this.#scan(buffer, count);
      return;
    }
    const bytes = Buffer.concat([this.#rest, buffer.subarray(0, count)]);
    this.#rest = undefined;
    this.#scan(bytes, bytes.length);
  }

  /** Looks for what the step at hand waits for. */
  #await(chunk: Buffer): void {
    const step = this.#options.script.steps[this.#step];
    if (step === undefined) return;
    const bytes = this.#kept === undefined ? chunk : Buffer.concat([this.#kept, chunk]);
    if (bytes.includes(step.until)) {
      this.#kept = undefined;
      this.#step++;
      if (this.#step === this.#options.script.steps.length) {
        this.#state = "ready";
        this.#options.onReady();
      } else this.#say();
      return;
    }
    this.#kept = Buffer.from(bytes.subarray(Math.max(0, bytes.length - keptBytes)));
    if (step.refusal !== undefined && bytes.includes(step.refusal))
      this.#end(new Error(`${step.whenRefused ?? "the target refused"}${this.#lastWords()}`));
  }

  #scan(bytes: Buffer, count: number): void {
    const { payloadBytes = stampBytes } = this.#options;
    if (this.#skip >= count) {
      this.#skip -= count;
      return;
    }
    let at = this.#skip;
    this.#skip = 0;
    for (;;) {
      const expected = at + usualGap - this.#gap;
      const found =
        expected >= at && expected + stampBytes <= count && isStamp(bytes, expected)
          ? expected
          : this.#find(bytes, at, count);
      if (found < 0) return;
      usualGap = this.#gap + found - at;
      this.#gap = 0;
      this.#options.onMessage?.(readSequence(bytes, found), readMicros(bytes, found), receivedMicros);
      at = found + payloadBytes;
      if (at >= count) {
        this.#skip = at - count;
        return;
      }
    }
  }

  /** The next stamp from `start` on, byte by byte; -1 when there is none, and then what may begin one is kept. */
  #find(bytes: Buffer, start: number, count: number): number {
    for (let at = start; at < count; at++) {
      if (bytes[at] !== marker) continue;
      if (at + stampBytes > count) {
        this.#rest = Buffer.from(bytes.subarray(at, count));
        this.#gap += at - start;
        return -1;
      }
      if (isStamp(bytes, at)) return at;
    }
    this.#gap += count - start;
    // No message, as it seems: if the target ends the connection next, these are its last words.
    if (start === 0) this.#kept = Buffer.from(bytes.subarray(Math.max(0, count - keptBytes), count));
    return -1;
  }

  #lastWords(): string {
    if (this.#kept === undefined) return "";
    const text = this.#kept
      .toString("latin1")
      .replaceAll(/[^\x20-\x7e]+/g, " ")
      .trim();
    return text === "" ? "" : `; it said: ${text.slice(-300)}`;
  }

  #end(error: Error): void {
    if (this.#state === "closed") return;
    this.close();
    this.#options.onEnd(error);
  }
}
