/* Errors: what a refused request answers.
 *
 * A code is stable and for machines; the message is for people and names the thing, the limit and the mend.
 * `retryable` says whether the same request can succeed later without a change. */

/** Every error code, with the HTTP status it travels under and whether the same request may succeed later. */
export const errorCodes = {
  bad_frame: {
    status: 400,
    retryable: false,
    meaning: "the frame is not valid JSON or msgpack",
  },
  bad_request: {
    status: 400,
    retryable: false,
    meaning: "a field is missing, unknown, of a wrong type or out of range",
  },
  unknown_op: { status: 400, retryable: false, meaning: "there is no such operation" },
  hello_first: { status: 400, retryable: false, meaning: "a request came before `hello`" },
  too_large: { status: 413, retryable: false, meaning: "a text, a `data` or a body is over its limit" },
  unauthenticated: {
    status: 401,
    retryable: false,
    meaning: "the token is missing, malformed, expired or not trusted",
  },
  forbidden: {
    status: 403,
    retryable: false,
    meaning: "the token's scopes or the stream's rules do not allow it",
  },
  not_found: {
    status: 404,
    retryable: false,
    meaning: "there is no such user, post, stream or subscription",
  },
  conflict: { status: 409, retryable: false, meaning: "it contradicts what already is" },
  cursor_too_old: {
    status: 410,
    retryable: false,
    meaning: "entries after the cursor are gone; `floor` is the oldest cursor still served",
  },
  epoch_mismatch: {
    status: 410,
    retryable: false,
    meaning: "the cursor belongs to another history of this broker; of a write: the cluster's log does",
  },
  cursor_in_future: { status: 400, retryable: false, meaning: "the cursor lies beyond the head" },
  rate_limited: { status: 429, retryable: true, meaning: "too many requests; wait `retryAfterMs`" },
  storage_full: {
    status: 507,
    retryable: true,
    meaning: "the disk or the configured store size is full; reads go on",
  },
  unavailable: {
    status: 503,
    retryable: true,
    meaning: "the log cannot take commands right now, or the broker is stopping",
  },
  internal: { status: 500, retryable: true, meaning: "a fault of the broker; it is logged there" },
} as const satisfies Record<string, { status: number; retryable: boolean; meaning: string }>;

export type ErrorCode = keyof typeof errorCodes;

/** What an error carries beside its code and message. */
export interface ErrorDetails {
  /** The field at fault, as a path: `text`, `mentions.3`. */
  field?: string;
  /** With `rate_limited`: milliseconds to wait. */
  retryAfterMs?: number;
  /** With `cursor_too_old`: the oldest cursor still served. */
  floor?: string;
}

/** The map an error travels as. */
export interface ErrorBody extends ErrorDetails {
  code: ErrorCode;
  message: string;
  retryable: boolean;
}

/** On every WhalesongError of every copy of this module. */
const brand = Symbol.for("whalesong.WhalesongError");

/** A refusal with a stable code: thrown by the broker's operations, and by the SDK for an answered error. */
export class WhalesongError extends Error {
  override readonly name = "WhalesongError";
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details: ErrorDetails;

  /** @param options.retryable where that is not what the code stands for */
  constructor(
    code: ErrorCode,
    message: string,
    details: ErrorDetails = {},
    { retryable, ...options }: { cause?: unknown; retryable?: boolean } = {},
  ) {
    super(message, options);
    this.code = code;
    this.retryable = retryable ?? errorCodes[code].retryable;
    this.details = details;
  }

  /** An application may load this module twice, as an ES and as a CommonJS module: each knows the other's errors. A class derived from
   *  this one inherits the question, and knows its own alone. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (this !== WhalesongError) return super[Symbol.hasInstance](value);
    return typeof value === "object" && value !== null && brand in value;
  }

  get [brand](): true {
    return true;
  }

  /** The map to send. */
  toBody(): ErrorBody {
    return { code: this.code, message: this.message, retryable: this.retryable, ...this.details };
  }

  /** The error an answered map stands for; a code this version does not know reads as `internal`, retryable or not as
   *  the map says. */
  static fromBody(body: ErrorBody): WhalesongError {
    const { code, message, retryable, ...details } = body;
    if (Object.hasOwn(errorCodes, code)) return new WhalesongError(code, message, details);
    return new WhalesongError("internal", message, details, { retryable });
  }
}
