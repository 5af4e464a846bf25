/* Recent: the originals of a reader's last 40 home entries, so that a repost does not bring back what they just saw.
 *
 * The rule: a repost is hidden when its original, as the post itself or by an earlier repost, is among the 40 candidates
 * before it. Candidates are all posts and reposts of that home by its other rules, hidden or not, deleted or not: so the
 * answer for one repost depends on the 40 entries before it and on nothing further back, and live delivery, catch-up from
 * any cursor and pages in either direction come to the same.
 *
 * `primed` says that what came before the first note is known too, or that 40 have been noted since. */

import type { Offset } from "../state/index.ts";

export const recentCount = 40;

/** Who keeps a recent, if need be only from when it is first asked for. */
export interface Candidates {
  readonly recent: Recent;
  /** Notes the next candidate's original: of a post itself, of a repost what it reposts. */
  note(original: Offset): void;
}

export class Recent implements Candidates {
  /** A ring of originals' offsets, their low 32 bits: within 40 entries no two can differ by 2^32. */
  readonly #ring = new Uint32Array(recentCount);
  #noted = 0;
  #primed = false;

  get recent(): Recent {
    return this;
  }

  get primed(): boolean {
    return this.#primed || this.#noted >= recentCount;
  }

  note(original: Offset): void {
    this.#ring[this.#noted % recentCount] = original;
    this.#noted++;
  }

  /** Takes the last candidates as they are, newest first, in place of what was noted. */
  prime(newestFirst: Offset[]): void {
    const known = newestFirst.slice(0, recentCount);
    known.forEach((original, i) => (this.#ring[known.length - 1 - i] = original));
    this.#noted = known.length;
    this.#primed = true;
  }

  has(original: Offset): boolean {
    const low = original >>> 0;
    const length = Math.min(this.#noted, recentCount);
    for (let i = 0; i < length; i++) if (this.#ring[i] === low) return true;
    return false;
  }
}
