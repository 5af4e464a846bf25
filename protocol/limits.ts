/* Limits: the named maximum of everything a peer can make the broker hold.
 *
 * Bytes are UTF-8 or encoded bytes, never characters. A session is told its own in `hello`. */

export const limits = {
  /** One frame or HTTP body, in bytes. A larger frame closes the connection with 1009. */
  frameBytes: 65_536,
  /** `text` of a post, in UTF-8 bytes. */
  textBytes: 16_384,
  /** `data` of a post, in bytes of its JSON text. */
  dataBytes: 16_384,
  /** Levels of arrays and maps within `data`. */
  dataDepth: 32,
  /** A handle, in characters (code points). */
  handleChars: 64,
  /** A tag, in characters (code points), without its `#`. */
  tagChars: 100,
  /** A device name, in characters (code points). */
  deviceChars: 64,
  /** An idempotency key of a publish, in characters (code points). */
  keyChars: 64,
  /** Recipients mentioned in one post; those in excess are not mentioned. */
  mentions: 50,
  /** Tags of one post; those in excess are not indexed. */
  tags: 50,
  /** Items in one page of `read`. */
  pageItems: 200,
  /** One page of `read`, in bytes, about: the item that reaches it is the page's last. */
  pageBytes: 1_048_576,
  /** Users in one page of `following` or `followers`. */
  pageUsers: 1_000,
  /** Live subscriptions of one session. */
  subscriptions: 64,
  /** Durable cursors of one user, of all devices and streams; past it the one furthest behind is forgotten. */
  cursors: 512,
  /** Users that one user follows. */
  follows: 200_000,
  /** Requests of one session that wait for their answer; more are left unread in the socket. */
  inFlight: 1_024,
  /** One frame before `hello`, in bytes: a token fits. A larger one is refused without being read. */
  helloFrameBytes: 20_480,
  /** Requests before `hello`, its own included; one more closes the connection. */
  helloRequests: 16,
  /** Frames that could not be decoded before the connection is closed. */
  badFrames: 16,
  /** Fragments of one WebSocket message; one more closes the connection with 1008. */
  fragments: 64,
  /** How long a message that was begun may take to come whole, in ms, about. */
  messageMs: 10_000,
} as const;

/** How fast a client may go on: so many a second, so many at once. The operator's to choose, so told as they are chosen, and not at all
 *  to whom they do not hold. */
export const rateNames = [
  /** Commands of a user. */
  "userRate",
  "userBurst",
  /** Bytes of a user's posts. */
  "userBytes",
  "userBytesBurst",
  /** Look-ups of what a user reads. */
  "userReadRate",
  "userReadBurst",
  /** Requests on a connection. */
  "connectionRate",
  "connectionBurst",
] as const;

export type RateLimits = { [K in (typeof rateNames)[number]]?: number };
export type Limits = { [K in keyof typeof limits]: number } & RateLimits;

/** Items in a page when the caller names no `limit`. */
export const defaultPageItems = 50;
