/* Errors the SDK raises itself. What the broker answers is a WhalesongError, with the protocol's codes. */

const retryable = {
  /** The client was closed, by `close()` or its signal. */
  closed: false,
  /** The broker ended the connection for good, or could not be used at all. */
  refused: false,
  /** The connection failed or broke; seen by `error` listeners, and thrown with `reconnect: false`. */
  disconnected: true,
  /** No answer came within `requestTimeoutMs`; whether the request took effect is unknown. */
  timeout: true,
  /** The SDK holds its maximum of unanswered requests. */
  too_many_requests: true,
} as const;

export type ConnectionErrorCode = keyof typeof retryable;

/** The connection's own failure, with a stable code. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly code: ConnectionErrorCode;
  /** Whether the same call can succeed later without a change. */
  readonly retryable: boolean;
  /** The WebSocket close code, where one was seen. */
  readonly closeCode?: number;

  constructor(
    code: ConnectionErrorCode,
    message: string,
    options: { closeCode?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.retryable = retryable[code];
    if (options.closeCode !== undefined) this.closeCode = options.closeCode;
  }
}
