/* The SDK's platform on Node.js: WebSockets by `ws`.
 *
 * The frames of one turn of the event loop leave in one write: the first corks the TCP socket, and it is uncorked
 * when the turn's promises have run. A burst of requests, or of answers that lead to new requests, costs one system
 * call instead of one each. */

import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";

import { type PerMessageDeflateOptions, WebSocket } from "ws";

import type { Platform, Socket, SocketEnd, SocketEvents } from "../core/platform.ts";

/** One frame of the broker, in bytes; pages of long posts are the largest. */
const maxFrameBytes = 64 * 1024 * 1024;

export const nodePlatform: Platform = {
  name: "node",
  openSocket: (url, subprotocol, events) => new NodeSocket(url, subprotocol, events, false),
  setTimer(run, ms) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  now: () => performance.now(),
  random: () => Math.random(),
  uniqueId: () => randomBytes(16).toString("hex"),
  report: (error) =>
    queueMicrotask(() => {
      throw error;
    }),
};

/** The same, and asks brokers for compression. Each message stands alone: none keeps a window between two. */
export const compressingPlatform: Platform = {
  ...nodePlatform,
  openSocket: (url, subprotocol, events) =>
    new NodeSocket(url, subprotocol, events, {
      clientNoContextTakeover: true,
      serverNoContextTakeover: true,
    }),
};

class NodeSocket implements Socket {
  readonly #ws: WebSocket;
  #tcp: Duplex | undefined;
  #corked = false;

  constructor(
    url: string,
    subprotocol: string,
    events: SocketEvents,
    perMessageDeflate: false | PerMessageDeflateOptions,
  ) {
    const ws = new WebSocket(url, subprotocol, { perMessageDeflate, maxPayload: maxFrameBytes });
    this.#ws = ws;
    const end: { status?: number; cause?: unknown } = {};
    ws.on("upgrade", (response) => {
      // Bun brings a `ws` of its own, which has no such socket: frames leave one by one there.
      const tcp = response.socket as Duplex | null | undefined;
      if (typeof tcp?.cork === "function") this.#tcp = tcp;
    });
    ws.on("unexpected-response", (_request, response) => {
      if (response.statusCode !== undefined) end.status = response.statusCode;
      ws.terminate();
    });
    ws.on("open", () => events.opened());
    ws.on("message", (data, isBinary) =>
      events.message(isBinary ? (data as Buffer) : (data as Buffer).toString()),
    );
    ws.on("error", (cause) => {
      end.cause = cause;
    });
    ws.on("close", (code, reason) => {
      const closed: SocketEnd = { code, reason: reason.toString(), ...end };
      events.closed(closed);
    });
  }

  send(frame: string | Uint8Array): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return;
    if (!this.#corked && this.#tcp !== undefined) {
      this.#corked = true;
      this.#tcp.cork();
      process.nextTick(this.#uncork);
    }
    this.#ws.send(frame);
  }

  close(code: number, reason: string): void {
    this.#ws.close(code, reason);
  }

  destroy(): void {
    this.#ws.terminate();
  }

  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }

  readonly #uncork = (): void => {
    this.#corked = false;
    this.#tcp?.uncork();
  };
}
