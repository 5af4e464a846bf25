/* Tail: the authors of the newest entries, in two flat arrays.
 *
 * A reader who was away for a short time finds what is new for them by looking at each new entry's author, not by asking
 * LMDB for each author they follow: a few nanoseconds an entry, against microseconds an author. Most entries are plain
 * posts, which whoever follows their author is shown: of these nothing more than the bytes is needed (ready.ts).
 *
 *   offset % size  ──>  whose it is u32 (marks.ts) | plain u8                                                    */

import type { Entry, Offset, State } from "../state/index.ts";
import { type Marks, keyOf, retractedKey } from "./marks.ts";

/** Offsets covered; a power of two. 5 bytes each. */
export const tailSize = 1 << 16;
const size = tailSize;
/** The key of an offset without an entry that streams are made of: nobody's. */
const noKey = 0;

export class Tail {
  /** Whose an entry is, as Marks has it. */
  readonly #keys = new Uint32Array(size);
  /** 1 for plain posts. */
  readonly #plain = new Uint8Array(size);
  #greatestKey = 0;
  #start: Offset;
  #end: Offset;

  /** A tail that ends at `end`, filled from the log. */
  constructor(state: State, end: Offset) {
    this.#start = Math.max(state.meta.floor, end - size);
    this.#end = this.#start;
    for (const entry of state.entries(this.#start, end)) this.append([entry], entry.offset);
    this.append([], end);
  }

  /** It covers (start, end]. */
  get start(): Offset {
    return this.#start;
  }

  get end(): Offset {
    return this.#end;
  }

  /** Adds the entries up to `end`; offsets that have none are known to have none. */
  append(entries: Entry[], end: Offset): void {
    for (let offset = Math.max(this.#end, end - size) + 1; offset <= end; offset++)
      this.#keys[offset % size] = noKey;
    for (const entry of entries) {
      if (entry.kind !== "post" && entry.kind !== "repost" && entry.kind !== "delete") continue;
      const slot = entry.offset % size;
      const key = entry.kind === "delete" && entry.reposted ? retractedKey : keyOf(entry.author);
      this.#keys[slot] = key;
      this.#plain[slot] = entry.kind === "post" && entry.reply === undefined && !entry.deleted ? 1 : 0;
      if (key > this.#greatestKey) this.#greatestKey = key;
      if (entry.kind === "delete" && entry.target > end - size) this.#plain[entry.target % size] = 0;
    }
    this.#end = Math.max(this.#end, end);
    this.#start = Math.max(this.#start, this.#end - size);
  }

  /** The first offset in (`after`, `upTo`], a part of (start, end], whose entry concerns the marks' reader, or of which they
   *  do not say. `upTo` + 1 when there is none. */
  next(marks: Marks, after: Offset, upTo: Offset): Offset {
    marks.reach(this.#greatestKey);
    const { by, since, taken, isWhole } = marks;
    const keys = this.#keys;
    let slot = (after + 1) % size; // a small integer throughout: % of an offset, which may be none, takes longer than all else here
    for (let left = upTo - after; left > 0; left--) {
      const key = keys[slot]!;
      if (by[key] === taken ? since[key]! <= upTo - left : !isWhole && key !== noKey) return upTo - left + 1;
      slot = (slot + 1) & (size - 1);
    }
    return upTo + 1;
  }

  /** Whether the entry at an offset within (start, end] is a post, no reply, and not deleted by the tail's end. */
  isPlain(offset: Offset): boolean {
    return this.#plain[offset % size] === 1;
  }

  /** What Marks knows the entry by. */
  key(offset: Offset): number {
    return this.#keys[offset % size]!;
  }
}
