/* Platform: the few things the SDK needs from where it runs.
 *
 * clients/core compiles with neither Node's nor the DOM's types; clients/node and clients/browser bring one Platform
 * each. Nothing here retries or decides: a Socket is one WebSocket, from opening to its one `closed`. */

/** What the SDK uses of an `AbortSignal`. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** Why a socket ended, or never opened. */
export interface SocketEnd {
  /** The WebSocket close code; 1006 when there was no close frame. */
  readonly code: number;
  readonly reason: string;
  /** The HTTP status that answered instead of an upgrade, where the platform tells. */
  readonly status?: number;
  readonly cause?: unknown;
}

/** What a socket reports; never called synchronously from `openSocket`. */
export interface SocketEvents {
  opened(): void;
  message(frame: string | Uint8Array): void;
  /** Exactly once, the last call; also when the socket never opened. */
  closed(end: SocketEnd): void;
}

/** One WebSocket. No method throws; all are harmless once it is closed. */
export interface Socket {
  /** Strings travel as text frames, bytes as binary ones. The frames of one turn may leave in one write. */
  send(frame: string | Uint8Array): void;
  /** Starts the closing handshake; `closed` follows, at once or when the peer answers. */
  close(code: number, reason: string): void;
  /** Lets go at once, without a handshake. */
  destroy(): void;
  /** Stops reading, so that TCP holds the peer back. Absent where the platform cannot (browsers). A few frames that
   *  had arrived already may still be reported. */
  pause?(): void;
  /** Goes on reading. */
  resume?(): void;
}

export interface Platform {
  /** Names the platform in `hello.client`. */
  readonly name: string;
  /** @throws when the URL is not one a WebSocket can open. */
  openSocket(url: string, subprotocol: string, events: SocketEvents): Socket;
  /** Runs `run` once after `ms`; the returned function cancels it. */
  setTimer(run: () => void, ms: number): () => void;
  /** Milliseconds since some moment, by a clock that never jumps. Not the time of day. */
  now(): number;
  /** Uniform in [0, 1). */
  random(): number;
  /** 32 hexadecimal digits that no other client will make. They need not be secret: they tell this client's publish keys from
   *  those of the same user's other clients. */
  uniqueId(): string;
  /** Surfaces an exception that a user's listener threw, as the platform shows uncaught ones. */
  report(error: unknown): void;
}
