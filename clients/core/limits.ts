/* The SDK's own limits: the named maximum of everything it holds, and its fixed times. */

export const clientLimits = {
  /** Requests without an answer, sent or waiting for a connection; one more is refused with `too_many_requests`. */
  requests: 65_536,
  /** Encoded bytes of those requests. */
  requestBytes: 64 * 1024 * 1024,
  /** Events a stream holds for its loop before the socket is paused, where it can be. */
  pauseEvents: 1_024,
  pauseBytes: 4 * 1024 * 1024,
  /** Events a stream holds at most; past it the subscription is parked and catches up later. */
  bufferedEvents: 4_096,
  bufferedBytes: 16 * 1024 * 1024,
  /** Events left in the buffer when a paused or parked stream goes on. */
  goOnEvents: 256,
  /** The longest a socket stays paused; then the streams in its way are parked. */
  pauseMs: 5_000,
  /** Acknowledgements of one stream are at least this far apart. */
  ackIntervalMs: 100,
  /** A connection that lasted this long starts the back-off anew. */
  stableMs: 5_000,
  /** `close()` waits so long for the broker's close frame. */
  closeMs: 1_000,
  /** The longest `reconnectMs` of a `goodbye` that is honoured. */
  goodbyeMs: 600_000,
  /** Who is told `goodbye` and knows another URL goes there within so long. */
  moveMs: 1_000,
  /** A node that refuses a request as `unavailable` is left for another; once round all URLs in so long. */
  moveAgainMs: 60_000,
  /** `getToken` is asked to renew a token at least this long after the last time. */
  renewalMs: 5_000,
  /** Jitter on top of the `retryAfterMs` of a refusal for the rate: below this or `retryAfterMs`, doubled for each in a row. */
  holdMs: 20,
  /** The highest such jitter. */
  holdJitterMs: 5_000,
  /** The longest one timer can run. */
  timerMs: 2_000_000_000,
} as const;
