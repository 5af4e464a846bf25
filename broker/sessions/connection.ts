/* Connection: what a session needs of a transport. */

import type { EventEncoder } from "../streams/index.ts";

/** How a transport turns messages into bytes. */
export interface MessageEncoder extends EventEncoder {
  encodeMessage(message: object): Buffer;
}

export interface Connection {
  readonly encoder: MessageEncoder;
  /** Writes `bytes`, which others may be given too: they are never changed. */
  write(bytes: Buffer): void;
  /** Bytes written and not yet taken by the peer's side of the network. Whenever they fall to 0, the transport calls the session's `drained`. */
  readonly bufferedBytes: number;
  /** Stops or goes on reading what the peer sends. */
  setReading(reading: boolean): void;
  /** Whether a message of the peer was begun and has not come whole. Looked at now and then. */
  readonly isMidMessage: boolean;
  /** Ends the connection after what was written, within a second or two whatever the peer does, and decodes nothing more of it.
   * Afterwards the transport calls the session's `closed`. */
  close(code: number, reason: string): void;
}
