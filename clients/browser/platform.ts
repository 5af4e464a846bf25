/* The SDK's platform in browsers: the native WebSocket.
 *
 * It cannot be paused; a stream whose loop is too slow is parked instead (clients/core/subscriptions.ts). It does not
 * tell why a handshake failed either: every such failure is retried.
 *
 * Web workers, WebViews, React Native and the like are browsers here: nothing but WebSocket and timers must be there. */

import type { Platform, Socket, SocketEvents } from "../core/platform.ts";

/** Globals that not every page, worker, WebView or app has. */
const optional = globalThis as {
  crypto?: { getRandomValues?: (bytes: Uint8Array<ArrayBuffer>) => unknown };
  performance?: { now?: () => number };
  reportError?: (error: unknown) => void;
};

export const browserPlatform: Platform = {
  name: "browser",
  openSocket: (url, subprotocol, events) => new BrowserSocket(url, subprotocol, events),
  setTimer(run, ms) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  now: () => optional.performance?.now?.() ?? Date.now(),
  random: () => Math.random(),
  uniqueId: () => Array.from(randomBytes(16), (byte) => byte.toString(16).padStart(2, "0")).join(""),
  report: (error) => {
    if (optional.reportError !== undefined) optional.reportError(error);
    else
      setTimeout(() => {
        throw error;
      }, 0);
  },
};

/** From `crypto.getRandomValues`, which plain http has too, as opposed to `randomUUID`. Where there is none, from Math.random:
 *  good enough to tell one client's publish keys from another's, and nothing here is a secret. */
function randomBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  if (optional.crypto?.getRandomValues !== undefined) optional.crypto.getRandomValues(bytes);
  else bytes.forEach((_, i) => (bytes[i] = Math.floor(Math.random() * 256)));
  return bytes;
}

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
    void Promise.resolve().then(() => this.#ended(1006, ""));
  }

  #ended(code: number, reason: string): void {
    const events = this.#events;
    this.#events = undefined;
    events?.closed({ code, reason });
  }
}
