/* Channel: messages between the broker's first process and a worker, both ways, in order.
 *
 *   frame = length u32 | msgpack of an array of messages
 *
 * What is sent in one turn of the event loop travels as one frame: under load a frame carries hundreds of commands, and what
 * it costs is shared among them. While the other side does not read, messages gather; how many is bounded by what the
 * other side was asked for. A pipe of its own, and not the one that `fork` makes: that one holds all messages back while
 * it hands a socket over, and its codec costs twice as much. */

import type { Duplex } from "node:stream";

import { Packr, Unpackr } from "msgpackr";

const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: false });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });
const headBytes = 4;

export interface ChannelOptions<In> {
  onMessage: (message: In) => void;
  /** The other side is gone. */
  onClosed: () => void;
}

export class Channel<In, Out> {
  readonly #stream: Duplex;
  readonly #onMessage: (message: In) => void;
  #outgoing: Out[] = [];
  #isScheduled = false;
  /** Chunks of a frame that has not come whole. */
  #parts: Buffer[] = [];
  #partsBytes = 0;
  #wantedBytes = headBytes;

  constructor(stream: Duplex, { onMessage, onClosed }: ChannelOptions<In>) {
    this.#stream = stream;
    this.#onMessage = onMessage;
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("drain", () => this.flush());
    stream.on("error", () => {}); // `close` follows
    stream.on("close", onClosed);
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
    const bytes = packr.pack(this.#outgoing);
    this.#outgoing = [];
    const head = Buffer.allocUnsafe(headBytes);
    head.writeUInt32LE(bytes.length, 0);
    this.#stream.cork();
    this.#stream.write(head);
    this.#stream.write(bytes);
    this.#stream.uncork();
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
      for (const message of unpackr.unpack(bytes.subarray(at + headBytes, end)) as In[])
        this.#onMessage(message);
      at = end;
    }
    this.#parts = at < bytes.length ? [bytes.subarray(at)] : [];
    this.#partsBytes = bytes.length - at;
  }
}
