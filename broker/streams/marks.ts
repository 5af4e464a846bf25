/* Marks: since when one reader follows each author, as flat arrays by key.
 *
 *   key   0 nobody   1 deletes that concern readers whoever wrote them   2, 3, … an author: the user's number + 1
 *
 * Taken anew for each step of catch-up, without clearing what was before. From a short follow list all is known at once;
 * of one who follows very many, each author is asked for when they are met. */

import type { FollowList, Offset, UserNo } from "../state/index.ts";

export const retractedKey = 1;

export function keyOf(author: UserNo): number {
  return author + 1;
}

export function authorOf(key: number): UserNo {
  return key - 1;
}

export class Marks {
  /** A key is known when this is `taken`, */
  by = new Uint32Array(1024);
  /** and then followed since this offset; NaN, which is less than nothing, when it is not. */
  since = new Float64Array(1024);
  taken = 0;
  /** What is not known is not followed. */
  isWhole = true;

  /** Begins with a reader of whom nothing is known but that they see what they do themself. */
  begin(reader: UserNo): void {
    this.taken = (this.taken + 1) >>> 0;
    if (this.taken === 0) {
      this.by.fill(0);
      this.taken = 1;
    }
    this.isWhole = false;
    this.put(retractedKey, 0);
    this.put(keyOf(reader), 0);
  }

  /** Begins with a reader who follows just these. */
  take({ targets, since }: FollowList, reader: UserNo): void {
    this.begin(reader);
    this.isWhole = true;
    for (let i = 0; i < targets.length; i++) this.put(keyOf(targets[i]!), since[i]!);
  }

  knows(key: number): boolean {
    return this.by[key] === this.taken;
  }

  put(key: number, since: Offset): void {
    this.reach(key);
    this.by[key] = this.taken;
    this.since[key] = since;
  }

  /** Makes room for keys up to `key`. */
  reach(key: number): void {
    if (key < this.by.length) return;
    const length = Math.max(key + 1, this.by.length * 2);
    const by = new Uint32Array(length);
    by.set(this.by);
    this.by = by;
    const since = new Float64Array(length);
    since.set(this.since);
    this.since = since;
  }
}
