/* Back-off: how long to wait before attempt number `attempt`, counted from 0.
 *
 * Full jitter: uniform below a ceiling that doubles, so that clients cut off together come back apart. */

export interface BackoffOptions {
  /** The first ceiling, in milliseconds. @default 100 */
  initialMs: number;
  /** The highest ceiling, in milliseconds. @default 10_000 */
  maxMs: number;
}

export function backoffMs(attempt: number, options: BackoffOptions, random: () => number): number {
  const ceiling = Math.min(options.maxMs, options.initialMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random() * ceiling);
}
