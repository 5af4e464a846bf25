/* RawSocket: a WebSocket client that shows frames as they travel, and sends what it is told, right or wrong. */

import { type Socket, connect } from "node:net";

/** A frame as it came. */
export interface RawFrame {
  /** FIN, RSV1 and the opcode. */
  head: number;
  payload: Buffer;
}

export class RawSocket {
  /** The answer to the upgrade: status line and headers. */
  readonly upgrade: string;
  readonly #socket: Socket;
  #bytes: Buffer;
  #isEnded = false;
  #wake: (() => void) | undefined;

  /** Connects to `path` of a broker, with more lines of headers. */
  static async open(base: string, path: string, headers: readonly string[] = []): Promise<RawSocket> {
    const { hostname, port, host } = new URL(base);
    const socket = connect(Number(port), hostname);
    socket.write(
      [
        `GET ${path} HTTP/1.1`,
        `Host: ${host}`,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
        ...headers,
        "\r\n",
      ].join("\r\n"),
    );
    let bytes: Buffer = Buffer.alloc(0);
    while (!bytes.includes("\r\n\r\n")) {
      bytes = await new Promise<Buffer>((resolve, reject) => {
        socket.once("error", reject);
        socket.once("data", (more: Buffer) => resolve(Buffer.concat([bytes, more])));
      });
    }
    const end = bytes.indexOf("\r\n\r\n");
    return new RawSocket(socket, bytes.subarray(0, end).toString(), bytes.subarray(end + 4));
  }

  private constructor(socket: Socket, upgrade: string, bytes: Buffer) {
    this.#socket = socket;
    this.upgrade = upgrade;
    this.#bytes = bytes;
    socket.on("data", (more: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, more]);
      this.#wake?.();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#isEnded = true;
      this.#wake?.();
    });
  }

  /** What the broker agreed to in `Sec-WebSocket-Extensions`. */
  get extensions(): string | undefined {
    return /^sec-websocket-extensions: (.*)$/im.exec(this.upgrade)?.[1];
  }

  /** Sends one frame, masked with zeros: what is seen on the wire is the payload. */
  send(head: number, payload: Buffer): void {
    const length =
      payload.length < 126
        ? Buffer.from([0x80 | payload.length])
        : Buffer.from([0xfe, payload.length >> 8, payload.length & 0xff]);
    this.#socket.write(Buffer.concat([Buffer.from([head]), length, Buffer.alloc(4), payload]));
  }

  /** Sends a request as JSON. */
  request(request: object): void {
    this.send(0x81, Buffer.from(JSON.stringify(request)));
  }

  /** The next frame. */
  async next(): Promise<RawFrame> {
    for (;;) {
      const frame = this.#take();
      if (frame !== undefined) return frame;
      if (this.#isEnded) throw new Error("the connection has ended");
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** The next frame that `isWanted`; those before it are passed over. */
  async find(isWanted: (frame: RawFrame) => boolean): Promise<RawFrame> {
    for (;;) {
      const frame = await this.next();
      if (isWanted(frame)) return frame;
    }
  }

  /** The code that the broker closes with. */
  async closeCode(): Promise<number> {
    return (await this.find(({ head }) => head === 0x88)).payload.readUInt16BE(0);
  }

  end(): void {
    this.#socket.destroy();
  }

  #take(): RawFrame | undefined {
    const bytes = this.#bytes;
    if (bytes.length < 2) return undefined;
    const [short, wide] = [bytes[1]! & 0x7f, bytes.length >= 10];
    if (short === 126 && bytes.length < 4) return undefined;
    if (short === 127 && !wide) return undefined;
    const from = short < 126 ? 2 : short === 126 ? 4 : 10;
    const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : bytes.readUIntBE(4, 6);
    if (bytes.length < from + length) return undefined;
    this.#bytes = bytes.subarray(from + length);
    return { head: bytes[0]!, payload: bytes.subarray(from, from + length) };
  }
}
