/* Cursors: opaque to users; the SDK alone compares them, to drop what a stream has seen.
 *
 *   EPOCH-OFFSET      epoch: letters and digits; offset: decimal, without leading zeros */

/** Negative, zero or positive as `a` lies before, at or after `b`; undefined when they belong to different epochs. */
export function compareCursors(a: string, b: string): number | undefined {
  if (a === b) return 0;
  const dash = a.lastIndexOf("-");
  if (dash < 1 || dash !== b.lastIndexOf("-") || !a.startsWith(b.slice(0, dash))) return undefined;
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : 1;
}
