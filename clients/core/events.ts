/* What `client.on(name, listener)` reports. */

import type { ResultOf } from "../../protocol/schemas.ts";

export interface Disconnect {
  /** Why the session ended: a ConnectionError with the close code, or what was refused. */
  error: Error;
  /** The next attempt begins after so many milliseconds. */
  retryInMs: number;
  /** It goes to this URL, one of those given to `connect()`. */
  nextUrl: string;
}

export interface ClientEvents {
  /** A new session stands, the first one excepted: that is what `connect()` resolves for. */
  connect: ResultOf<"hello">;
  /** The session is lost; another will be tried. */
  disconnect: Disconnect;
  /** The broker will close, and says when to come back; the SDK does, or goes to another URL sooner. */
  goodbye: { reason: string; reconnectMs: number };
  /** Something failed that the SDK goes on from: an attempt to connect, an unreadable frame, a renewal of the token. */
  error: Error;
  /** The client is closed: by `close()` or its signal (no error), or for good by the broker. The last event. */
  close: { error?: Error };
}
