/* The SDK's platform in browsers: the native WebSocket.
 *
 * It cannot be paused; a stream whose loop is too slow is parked instead (clients/core/subscriptions.ts). It does not
 * tell why a handshake failed either: every such failure is retried. */

import type { Platform, Socket, SocketEvents } from "../core/platform.ts";

export const browserPlatform: Platform = {
  name: "browser",
  openSocket: (url, subprotocol, events) => new BrowserSocket(url, subprotocol, events),
  setTimer(run, ms) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  now: () => Date.now(),
  random: () => Math.random(),
  // randomUUID exists in secure contexts alone; a page on plain http needs ids too.
  uniqueId: () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(
      "",
    ),
  report: (error) => reportError(error),
};

class BrowserSocket implements Socket {
  readonly #ws: WebSocket;
  #events: SocketEvents | undefined;

  constructor(url: string, subprotocol: string, events: SocketEvents) {
    this.#events = events;
    this.#ws = new WebSocket(url, subprotocol);
    this.#ws.binaryType = "arraybuffer";
    this.#ws.addEventListener("open", () => this.#events?.opened());
    this.#ws.addEventListener("message", ({ data }: MessageEvent<string | ArrayBuffer>) =>
      this.#events?.message(typeof data === "string" ? data : new Uint8Array(data)),
    );
    this.#ws.addEventListener("close", ({ code, reason }) => this.#ended(code, reason));
  }

  send(frame: string | Uint8Array): void {
    if (this.#ws.readyState === WebSocket.OPEN) this.#ws.send(frame as string | Uint8Array<ArrayBuffer>);
  }

  close(code: number, reason: string): void {
    this.#ws.close(code, reason);
  }

  destroy(): void {
    // The browser would wait for the peer's close frame before it says so itself.
    this.#ws.close();
    queueMicrotask(() => this.#ended(1006, ""));
  }

  #ended(code: number, reason: string): void {
    const events = this.#events;
    this.#events = undefined;
    events?.closed({ code, reason });
  }
}
