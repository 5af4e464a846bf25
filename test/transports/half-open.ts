/* HalfOpenPeer: a raw client that never ends its side of a connection. */

import { readdirSync } from "node:fs";
import { type Socket, connect } from "node:net";

export class HalfOpenPeer {
  readonly socket: Socket;
  /** The other side has ended; this one has not. */
  readonly ended: Promise<void>;
  #text = "";

  static async open(base: string): Promise<HalfOpenPeer> {
    const { hostname, port } = new URL(base);
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    const peer = new HalfOpenPeer(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return peer;
  }

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (bytes: Buffer) => (this.#text += bytes.toString("latin1")));
    this.ended = new Promise((resolve) => {
      socket.once("end", resolve);
      socket.once("close", resolve);
    });
  }

  /** What came so far. */
  get text(): string {
    return this.#text;
  }

  /** The status line of the first answer. */
  get status(): string {
    return this.#text.split("\r\n", 1)[0]!;
  }
}

/** Open files of a process. */
export function openFiles(pid: number | "self" = "self"): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
