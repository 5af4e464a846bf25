/* Completions: crowds in other processes tell the publishing one which messages all of their readers have.
 *
 *     a sequence of 32 bits for each message, gathered for one turn of the event loop
 *
 * Directly, since the way through the harness would be twice as long. */

import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";

const bytesEach = 4;

/** Takes what others tell. */
export class CompletionsServer {
  readonly #server = createServer({ noDelay: true });

  /** The port that others tell it on. */
  async listen(onComplete: (sequence: number) => void): Promise<number> {
    this.#server.on("connection", (socket) => {
      let rest: Buffer | undefined;
      socket.on("error", () => socket.destroy());
      socket.on("data", (chunk) => {
        const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
        const whole = bytes.length - (bytes.length % bytesEach);
        for (let at = 0; at < whole; at += bytesEach) onComplete(bytes.readUInt32LE(at));
        rest = whole === bytes.length ? undefined : bytes.subarray(whole);
      });
    });
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
  }
}

/** Tells them. */
export class CompletionsClient {
  readonly #socket: Socket;
  #waiting: number[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async connect(port: number): Promise<CompletionsClient> {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    await once(socket, "connect");
    return new CompletionsClient(socket);
  }

  tell(sequence: number): void {
    if (this.#waiting.length === 0) setImmediate(() => this.#send());
    this.#waiting.push(sequence);
  }

  close(): void {
    this.#socket.destroy();
  }

  #send(): void {
    const bytes = Buffer.allocUnsafe(this.#waiting.length * bytesEach);
    for (const [i, sequence] of this.#waiting.entries()) bytes.writeUInt32LE(sequence, i * bytesEach);
    this.#waiting = [];
    this.#socket.write(bytes);
  }
}
