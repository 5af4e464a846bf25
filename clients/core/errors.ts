/* Errors the SDK raises itself. What the broker answers is a WhalesongError, with the protocol's codes. */

import { closeCodes, mayComeBack } from "../../protocol/close.ts";
import { WhalesongError } from "../../protocol/errors.ts";
import type { SocketEnd } from "./platform.ts";

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

/** On every ConnectionError of every copy of this module. */
const brand = Symbol.for("whalesong.ConnectionError");

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

  /** As for WhalesongError: the ES and the CommonJS module know each other's errors. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && brand in value;
  }

  get [brand](): true {
    return true;
  }
}

/** What the end of a socket to `url` comes to. */
export function errorOfEnd(url: string, end: SocketEnd): Error {
  const { code, reason, status, cause } = end;
  const options = cause === undefined ? {} : { cause };
  const said = reason === "" ? "" : `: ${reason}`;
  if (status === 401)
    return new WhalesongError("unauthenticated", `${url}: the broker answered 401`, {}, options);
  if (status === 403) return new WhalesongError("forbidden", `${url}: the broker answered 403`, {}, options);
  if (status !== undefined) {
    const mayMend = status >= 500 || status === 408 || status === 429;
    const message = `${url}: HTTP ${status} instead of a WebSocket${mayMend ? "" : "; is this a Whalesong broker?"}`;
    return new ConnectionError(mayMend ? "disconnected" : "refused", message, options);
  }
  if (code === closeCodes.unauthenticated) {
    return new WhalesongError("unauthenticated", `${url}: the token was refused${said}`, {}, options);
  }
  const why = cause instanceof Error ? `: ${cause.message}` : said;
  return new ConnectionError(
    mayComeBack(code) ? "disconnected" : "refused",
    `${url}: the connection ended with ${code}${why}`,
    { closeCode: code, ...options },
  );
}
