/* HTTP errors: every refusal has one shape, whoever refuses.
 *
 *   {"error": {"code", "message", "retryable", …}}    the status is the code's, unless HTTP has a more exact one */

import { type ErrorBody, WhalesongError, errorCodes, limits } from "../../protocol/index.ts";

export interface Refusal {
  status: number;
  headers: Record<string, string>;
  body: { error: ErrorBody };
}

/** A refusal with a status or headers that are HTTP's own: 405 with `allow`, 415, 426. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;
  readonly refusal: WhalesongError;
  readonly headers: Record<string, string>;

  constructor(status: number, refusal: WhalesongError, headers: Record<string, string> = {}) {
    super(refusal.message);
    this.status = status;
    this.refusal = refusal;
    this.headers = headers;
  }
}

/** A `bad_request` that names the field first. */
export function badRequest(field: string, message: string): WhalesongError {
  return new WhalesongError("bad_request", `${field}: ${message}`, { field });
}

/** A body that is no JSON. */
export function unknownMediaType(): HttpError {
  return new HttpError(415, badRequest("content-type", "bodies are JSON; send application/json"));
}

/** How `error` is answered. Whatever is none of the known refusals is a fault: `onFault` hears of it, the client does not. */
export function refusalOf(error: unknown, onFault: (error: unknown) => void): Refusal {
  if (error instanceof HttpError) return { ...answer(error.refusal, error.status), headers: error.headers };
  if (error instanceof WhalesongError) return answer(error);
  const known = frameworkRefusal(error);
  if (known !== undefined) return known;
  onFault(error);
  return answer(new WhalesongError("internal", "a fault of the broker; it is logged there"));
}

function answer(error: WhalesongError, status: number = errorCodes[error.code].status): Refusal {
  const headers: Record<string, string> = {};
  const { retryAfterMs } = error.details;
  if (retryAfterMs !== undefined) headers["retry-after"] = String(Math.ceil(retryAfterMs / 1_000));
  if (status === 401) headers["www-authenticate"] = "Bearer";
  return { status, headers, body: { error: error.toBody() } };
}

/** What fastify refuses before a handler runs. */
function frameworkRefusal(error: unknown): Refusal | undefined {
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown };
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return answer(
        new WhalesongError("too_large", `body: over ${limits.frameBytes} bytes`, { field: "body" }),
      );
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return refusalOf(unknownMediaType(), () => {});
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return answer(badRequest("content-length", "the body is not as long as it says"));
    case "FST_ERR_BAD_URL":
      return answer(badRequest("url", "the path's percent-encoding is not UTF-8 in %XX"));
    case "FST_ERR_MAX_PARAM_LENGTH":
      return answer(badRequest("url", "a part of the path is too long"), 414);
    default:
      // A body that ends before its time, and the like: the request's fault, and told to nobody who still listens.
      return typeof statusCode === "number" && statusCode >= 400 && statusCode < 500
        ? answer(new WhalesongError("bad_request", "the request could not be read"))
        : undefined;
  }
}
