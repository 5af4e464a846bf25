/* Tail: the authors of the newest entries, in two flat arrays.
 *
 * A reader who was away for a short time finds what is new for them by looking at each new entry's author, not by asking
 * LMDB for each author they follow: a few nanoseconds an entry, against microseconds an author. */

import type { Entry, Offset, State, UserNo } from "../state/index.ts";

/** Offsets covered; a power of two. 5 bytes each. */
const size = 1 << 16;

/** What the tail tells of an offset. */
export const tailKind = { none: 0, authored: 1, retracted: 2 } as const;

export class Tail {
  readonly #authors = new Uint32Array(size);
  readonly #kinds = new Uint8Array(size);
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
      this.#kinds[offset % size] = tailKind.none;
    for (const entry of entries) {
      if (entry.kind !== "post" && entry.kind !== "repost" && entry.kind !== "delete") continue;
      const slot = entry.offset % size;
      this.#authors[slot] = entry.author;
      this.#kinds[slot] = entry.kind === "delete" && entry.reposted ? tailKind.retracted : tailKind.authored;
    }
    this.#end = Math.max(this.#end, end);
    this.#start = Math.max(this.#start, this.#end - size);
  }

  /** What there is at an offset within (start, end]. */
  kind(offset: Offset): number {
    return this.#kinds[offset % size]!;
  }

  author(offset: Offset): UserNo {
    return this.#authors[offset % size]!;
  }
}
