/* Close codes: why a WebSocket ends, and whether to come back.
 *
 * 4000–4399 say come back (after a back-off); 4400–4999 say do not, until something is changed.
 * Of the standard codes, 1000 is the client's own goodbye; 1001, 1006, 1011, 1012 and 1013 say come back;
 * 1002, 1003, 1007, 1008, 1009 and 1010 say do not. */

export const closeCodes = {
  /** The broker is stopping; `goodbye` said when to come back. */
  draining: 4000,
  /** The reader made no progress at all for the stated time; resume from the cursor. */
  no_progress: 4001,
  /** No `hello` arrived in time. */
  hello_timeout: 4002,
  /** No pong and no frame arrived for the stated time. */
  idle_timeout: 4003,
  /** Credentials cannot be checked at present. */
  unavailable: 4004,
  /** A message was begun and did not come whole in time. */
  message_timeout: 4005,
  /** The user has as many connections here as one user may have. */
  too_many: 4006,
  /** The client kept sending over its rate. */
  flooding: 4029,
  /** The token expired and was not renewed by `auth`: come back with a fresh one. */
  token_expired: 4100,
  /** Too many frames that could not be decoded. */
  bad_frames: 4400,
  /** The token was refused. */
  unauthenticated: 4401,
} as const;

export type CloseReason = keyof typeof closeCodes;

const standardDoNotComeBack = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010]);

/** Whether a client closed with `code` should connect again unchanged, after a back-off. */
export function mayComeBack(code: number): boolean {
  if (code >= 4000) return code < 4400;
  return !standardDoNotComeBack.has(code);
}
