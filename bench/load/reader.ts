/* Reader: a WebSocket client as small as can be, for thousands in one process.
 *
 *   connecting ──101──> subscribing ──ok──> reading ──close──> closed
 *
 * It subscribes to `home` and tells what comes, by kind, without decoding it: an event's first bytes are
 * `{"sub":1,"event":"post"`, so one byte at a fixed place is the kind. An SDK client would do ten times the work for an
 * event, and the load would be measured instead of the broker. All readers of a process read into one buffer. */

import { randomBytes } from "node:crypto";
import { type Socket, connect } from "node:net";

/** What came: by the first letter of the event's name. */
export type Kind = "post" | "live" | "cursor" | "other";

export interface ReaderOptions {
  host: string;
  port: number;
  user: string;
  device: string;
  from: "resume" | "live";
  /** The broker has taken the subscription. */
  onSubscribed: () => void;
  /** An event came. */
  onEvent: (kind: Kind) => void;
  /** The connection ended, or what came is no answer of a broker. Called once, and never after `close`. */
  onEnd: (error: Error) => void;
}

/** Where the letter of the event's kind stands in a payload. */
const kindAt = `{"sub":1,"event":"`.length;
/** Bytes of a payload that are looked at. */
const prefixBytes = kindAt + 1;
const letters = { p: 0x70, l: 0x6c, c: 0x63 } as const;
const answerPrefix = Buffer.from(`{"id":`);
const okPrefix = Buffer.from(`{"id":1,"ok":`);

/** Every reader of the process reads into it: what is read is looked at before anything else is read. */
const shared = Buffer.allocUnsafe(65_536);

const subscribeFrames = {
  resume: maskedFrame(0x1, subscription("resume")),
  live: maskedFrame(0x1, subscription("live")),
};
const pongFrame = maskedFrame(0xa, "");

export class Reader {
  /** For whoever made it: posts that came. */
  posts = 0;
  readonly #options: ReaderOptions;
  readonly #socket: Socket;
  #state: "connecting" | "subscribing" | "reading" | "closed" = "connecting";
  /** Bytes of the payload at hand that are still to come and not of interest. */
  #skip = 0;
  /** The beginning of something not complete yet: of the response, a header, or a payload's prefix. */
  #rest: Buffer | undefined;

  constructor(options: ReaderOptions) {
    this.#options = options;
    const { host, port } = options;
    this.#socket = connect({
      host,
      port,
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (count, buffer) => {
          this.#take(buffer as Buffer, count);
          return true;
        },
      },
    });
    this.#socket.on("connect", () => this.#socket.write(handshake(options)));
    this.#socket.on("error", (error) => this.#end(error));
    this.#socket.on("close", () => this.#end(new Error(`${options.user}: the broker closed the connection`)));
  }

  /** Drops the connection. */
  close(): void {
    this.#state = "closed";
    this.#socket.destroy();
  }

  #take(buffer: Buffer, count: number): void {
    let bytes = buffer.subarray(0, count);
    if (this.#rest !== undefined) {
      bytes = Buffer.concat([this.#rest, bytes]);
      this.#rest = undefined;
    }
    let at = 0;
    if (this.#state === "connecting") {
      at = this.#upgraded(bytes);
      if (at < 0) return;
    }
    this.#scan(bytes, at);
  }

  /** Where frames begin behind the response; -1 while it is not complete. */
  #upgraded(bytes: Buffer): number {
    const end = bytes.indexOf("\r\n\r\n");
    if (end < 0) {
      this.#rest = Buffer.from(bytes);
      return -1;
    }
    const status = bytes.toString("latin1", 0, Math.min(end, 64)).split("\r\n")[0];
    if (!status?.startsWith("HTTP/1.1 101 ")) {
      this.#end(new Error(`${this.#options.user}: the broker refused the connection: ${status}`));
      return -1;
    }
    this.#state = "subscribing";
    this.#socket.write(subscribeFrames[this.#options.from]);
    return end + 4;
  }

  /** Goes from frame to frame: 0x81 | length: 7 bits, or 126 and u16, or 127 and u64 | payload. */
  #scan(bytes: Buffer, start: number): void {
    let at = start + this.#skip;
    while (at < bytes.length && this.#state !== "closed") {
      const short = bytes[at + 1];
      const header = short === 126 ? 4 : short === 127 ? 10 : 2;
      const known = bytes.length - at;
      if (short === undefined || known < header) break;
      const length =
        header === 2 ? short : header === 4 ? bytes.readUInt16BE(at + 2) : bytes.readUInt32BE(at + 6);
      if (known < header + Math.min(length, prefixBytes)) break;
      this.#frame(bytes[at]! & 0x0f, bytes, at + header, length);
      at += header + length;
    }
    this.#skip = Math.max(0, at - bytes.length);
    if (at < bytes.length) this.#rest = Buffer.from(bytes.subarray(at));
  }

  #frame(opcode: number, bytes: Buffer, at: number, length: number): void {
    if (opcode === 0x9) this.#socket.write(pongFrame);
    else if (opcode === 0x8) this.#end(new Error(`${this.#options.user}: ${closeReason(bytes, at, length)}`));
    else if (startsWith(bytes, at, answerPrefix)) this.#answered(bytes, at, length);
    else this.#options.onEvent(kindOf(bytes[at + kindAt]));
  }

  #answered(bytes: Buffer, at: number, length: number): void {
    if (!startsWith(bytes, at, okPrefix)) {
      this.#end(new Error(`${this.#options.user}: refused: ${bytes.toString("utf8", at, at + length)}`));
      return;
    }
    this.#state = "reading";
    this.#options.onSubscribed();
  }

  #end(error: Error): void {
    if (this.#state === "closed") return;
    this.close();
    this.#options.onEnd(error);
  }
}

function kindOf(letter: number | undefined): Kind {
  if (letter === letters.p) return "post";
  if (letter === letters.l) return "live";
  return letter === letters.c ? "cursor" : "other";
}

function startsWith(bytes: Buffer, at: number, prefix: Buffer): boolean {
  return bytes.compare(prefix, 0, prefix.length, at, Math.min(at + prefix.length, bytes.length)) === 0;
}

function closeReason(bytes: Buffer, at: number, length: number): string {
  if (length < 2 || bytes.length < at + length) return "the broker closed the connection";
  return `the broker closed the connection: ${bytes.readUInt16BE(at)} ${bytes.toString("utf8", at + 2, at + length)}`;
}

function handshake({ host, port, user, device }: ReaderOptions): string {
  return [
    `GET /v1/ws?user=${encodeURIComponent(user)}&device=${encodeURIComponent(device)} HTTP/1.1`,
    `Host: ${host}:${port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    "Sec-WebSocket-Protocol: whalesong.v1.json",
    "\r\n",
  ].join("\r\n");
}

function subscription(from: string): string {
  return JSON.stringify({ id: 1, op: "subscribe", sub: 1, stream: "home", from });
}

/** A short client frame. Its mask is zero, which leaves the payload as it is. */
function maskedFrame(opcode: number, payload: string): Buffer {
  const bytes = Buffer.from(payload);
  if (bytes.length > 125) throw new Error(`a short frame holds 125 bytes; got ${bytes.length}`);
  return Buffer.concat([Buffer.of(0x80 | opcode, 0x80 | bytes.length, 0, 0, 0, 0), bytes]);
}
