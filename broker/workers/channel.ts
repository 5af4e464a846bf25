/* Channel: messages between the broker's first process and a worker, both ways, in order.
 *
 *   frame = length u32 | msgpack of an array of messages
 *
 * What is sent in one turn of the event loop travels as one frame: under load a frame carries hundreds of commands, and what
 * it costs is shared among them. While the other side does not read, messages gather; how many is bounded by what the
 * other side was asked for. A pipe of its own, and not the one that `fork` makes: that one holds all messages back while
 * it hands a socket over, and its codec costs twice as much.
 *
 * Messages carry what clients sent. One that cannot be packed, or whose handling throws, is told by itself; those beside
 * it go on. */

import type { Duplex } from "node:stream";

import { Packr, Unpackr } from "msgpackr";

/** `toJSON` in what a client sent is a key like any other, and is not called. */
const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: false, useToJSON: false });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });
const headBytes = 4;

export interface ChannelOptions<In, Out> {
  onMessage: (message: In) => void;
  /** The other side is gone. */
  onClosed: () => void;
  /** A message could not be packed, and was not sent. */
  onUnsendable: (message: Out, error: unknown) => void;
  /** `onMessage` threw. Without this the error is thrown on: who has no request to refuse for it is broken by it. */
  onFault?: (message: In, error: unknown) => void;
  /** What came is no frame of messages: the other side is not to be understood any more. */
  onUnreadable: (error: unknown) => void;
}

export class Channel<In, Out> {
  readonly #stream: Duplex;
  readonly #options: ChannelOptions<In, Out>;
  #outgoing: Out[] = [];
  #isScheduled = false;
  /** Chunks of a frame that has not come whole. */
  #parts: Buffer[] = [];
  #partsBytes = 0;
  #wantedBytes = headBytes;

  constructor(stream: Duplex, options: ChannelOptions<In, Out>) {
    this.#stream = stream;
    this.#options = options;
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("drain", () => this.flush());
    stream.on("error", () => {}); // `close` follows
    stream.on("close", options.onClosed);
  }

  /** Sends at the end of this turn of the event loop. */
  send(message: Out): void {
    this.#outgoing.push(message);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.flush());
  }

  /** Sends what there is now, unless the other side has not read what it was sent before. */
  flush(): void {
    this.#isScheduled = false;
    if (this.#outgoing.length === 0 || this.#stream.writableNeedDrain || !this.#stream.writable) return;
    const messages = this.#outgoing;
    this.#outgoing = [];
    const bytes = this.#pack(messages);
    const head = Buffer.allocUnsafe(headBytes);
    head.writeUInt32LE(bytes.length, 0);
    this.#stream.cork();
    this.#stream.write(head);
    this.#stream.write(bytes);
    this.#stream.uncork();
  }

  /** One frame's messages, but for those that cannot be packed. */
  #pack(messages: Out[]): Buffer {
    try {
      return packr.pack(messages);
    } catch {
      const faults = messages.map((message) => ({ message, fault: faultOf(message) }));
      for (const { message, fault } of faults)
        if (fault !== undefined) this.#options.onUnsendable(message, fault.error);
      return packr.pack(faults.filter(({ fault }) => fault === undefined).map(({ message }) => message));
    }
  }

  /** Sends what there is, and ends. */
  async close(): Promise<void> {
    this.flush();
    await new Promise<void>((resolve) => this.#stream.end(() => resolve()));
  }

  #take(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#partsBytes += chunk.length;
    if (this.#partsBytes < this.#wantedBytes) return;
    const bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts, this.#partsBytes);
    let at = 0;
    this.#wantedBytes = headBytes;
    while (bytes.length - at >= headBytes) {
      const end = at + headBytes + bytes.readUInt32LE(at);
      if (end > bytes.length) {
        this.#wantedBytes = end - at;
        break;
      }
      for (const message of this.#unpack(bytes.subarray(at + headBytes, end))) this.#handle(message);
      at = end;
    }
    this.#parts = at < bytes.length ? [bytes.subarray(at)] : [];
    this.#partsBytes = bytes.length - at;
  }

  #unpack(bytes: Buffer): In[] {
    try {
      return unpackr.unpack(bytes) as In[];
    } catch (error) {
      this.#options.onUnreadable(error);
      return [];
    }
  }

  #handle(message: In): void {
    const { onMessage, onFault } = this.#options;
    if (onFault === undefined) {
      onMessage(message);
      return;
    }
    try {
      onMessage(message);
    } catch (error) {
      onFault(message, error);
    }
  }
}

/** Why a message cannot be packed; undefined when it can. */
function faultOf(message: unknown): { error: unknown } | undefined {
  try {
    packr.pack(message);
    return undefined;
  } catch (error) {
    return { error };
  }
}
