/* Merge: the offsets of many topics, as one ascending or descending sequence.
 *
 *   heap   bound 17 ── author 4, not looked up yet: «17 or later»
 *          offset 21 ── author 9, known
 *
 * Each source enters with a bound that costs nothing (the reader's cursor, or the author's last offset). Only what comes
 * to the top is looked up in LMDB. So a page back from the head of a home that follows ten thousand reads a few dozen
 * keys, and sources with nothing new are never read at all.
 *
 * Of tens of thousands of sources the heap alone takes longer to build than the event loop may be held: it is built within
 * the budget, too. */

import {
  type FollowList,
  type Offset,
  type State,
  type TopicPrefix,
  type UserNo,
  authorTopic,
} from "../state/index.ts";

/** Offsets fetched from a source at a time, ascending. */
const chunk = 4;
/** Sources put in order for what one look-up costs. */
const sourcesPerLookup = 8;

/** What a merge may take, and takes from, before it pauses. */
export interface Budget {
  lookups: number;
}

export interface Source {
  /** A topic, or what this user authors. */
  topic: TopicPrefix | UserNo;
  /** Ascending: all of interest is after it. Descending: all of interest is before it. */
  bound: Offset;
}

/** The sources of what those of `follows` did after `after`; those who did nothing since are left out unread. */
export function sourcesAfter(state: State, { targets, since }: FollowList, after: Offset): Source[] {
  const sources: Source[] = [];
  for (let i = 0; i < targets.length; i++) {
    const topic = targets[i]!;
    const bound = Math.max(after, since[i]!);
    if (state.topics.lastByAuthor(topic) > bound) sources.push({ topic, bound });
  }
  return sources;
}

/** The sources of what `authors` did before `before`. */
export function sourcesBefore(state: State, authors: UserNo[], before: Offset): Source[] {
  const sources: Source[] = [];
  for (const topic of authors) {
    const last = state.topics.lastByAuthor(topic);
    if (last > 0) sources.push({ topic, bound: Math.min(before, last + 1) });
  }
  return sources;
}

function topicOf({ topic }: Source): TopicPrefix {
  return typeof topic === "number" ? authorTopic(topic) : topic;
}

/** Ascending: the offsets of all sources up to `upTo`. */
export class MergeAfter {
  readonly #state: State;
  readonly #upTo: Offset;
  readonly #heap: Heap;
  readonly #sources: Source[];
  readonly #fetched: Offset[][] = [];

  constructor(state: State, sources: Source[], upTo: Offset) {
    this.#state = state;
    this.#upTo = upTo;
    this.#sources = sources;
    this.#heap = new Heap(sources, 1, (a, b) => a < b);
  }

  /** The next offset; undefined at the end, or `paused` once `budget.lookups` are spent. An offset in two sources comes twice. */
  next(budget: Budget): Offset | "paused" | undefined {
    if (!this.#heap.isBuiltWithin(budget)) return "paused";
    for (;;) {
      const source = this.#heap.top();
      if (source === undefined) return undefined;
      const fetched = (this.#fetched[source] ??= []);
      if (fetched.length === 0) {
        if (budget.lookups-- <= 0) return "paused";
        const asked = this.#sources[source]!;
        fetched.push(
          ...this.#state.topics.after(topicOf(asked), asked.bound, this.#upTo, chunk).toReversed(),
        );
        if (fetched.length === 0) this.#heap.pop();
        else {
          asked.bound = fetched[0]!;
          this.#heap.rekeyTop(fetched.at(-1)!);
        }
        continue;
      }
      const offset = fetched.pop()!;
      // What is not fetched yet lies after the bound: a key that is right for known and unknown alike.
      this.#heap.rekeyTop(fetched.at(-1) ?? this.#sources[source]!.bound + 1);
      return offset;
    }
  }
}

/** Descending: the offsets of all sources before their bounds. */
export class MergeBefore {
  readonly #state: State;
  readonly #heap: Heap;
  readonly #sources: Source[];
  readonly #known: Uint8Array;

  constructor(state: State, sources: Source[]) {
    this.#state = state;
    this.#sources = sources;
    this.#known = new Uint8Array(sources.length);
    this.#heap = new Heap(sources, -1, (a, b) => a > b);
  }

  /** The next offset; undefined at the end, or `paused` once `budget.lookups` are spent. An offset in two sources comes twice. */
  next(budget: Budget): Offset | "paused" | undefined {
    if (!this.#heap.isBuiltWithin(budget)) return "paused";
    for (;;) {
      const source = this.#heap.top();
      if (source === undefined) return undefined;
      if (this.#known[source] === 1) {
        const offset = this.#sources[source]!.bound;
        this.#known[source] = 0;
        this.#heap.rekeyTop(offset - 1);
        return offset;
      }
      if (budget.lookups-- <= 0) return "paused";
      const asked = this.#sources[source]!;
      const found = this.#state.topics.before(topicOf(asked), asked.bound, 1)[0];
      if (found === undefined) this.#heap.pop();
      else {
        asked.bound = found;
        this.#known[source] = 1;
        this.#heap.rekeyTop(found);
      }
    }
  }
}

/** A binary heap of sources by a number each. It is to be built, as far as one likes at a time, before it is used. */
class Heap {
  readonly #given: Source[];
  readonly #first: number;
  readonly #keys: Float64Array;
  readonly #sources: Uint32Array;
  readonly #isBefore: (a: number, b: number) => boolean;
  #length: number;
  /** Places from here on are filled, and in order among themselves. */
  #built: number;

  /** A source's first key is its bound plus `first`. */
  constructor(sources: Source[], first: number, isBefore: (a: number, b: number) => boolean) {
    this.#given = sources;
    this.#first = first;
    this.#length = sources.length;
    this.#keys = new Float64Array(this.#length);
    this.#sources = new Uint32Array(this.#length);
    this.#isBefore = isBefore;
    this.#built = this.#length;
  }

  /** Takes in more sources, from the last place to the first: each sinks to where it belongs. Whether that was all of them. */
  isBuiltWithin(budget: Budget): boolean {
    if (this.#built === 0) return true;
    const before = this.#built;
    const until = Math.max(0, before - Math.max(0, budget.lookups) * sourcesPerLookup);
    while (this.#built > until) {
      const place = --this.#built;
      this.#keys[place] = this.#given[place]!.bound + this.#first;
      this.#sources[place] = place;
      this.#sink(place);
    }
    budget.lookups -= Math.ceil((before - this.#built) / sourcesPerLookup);
    return this.#built === 0;
  }

  top(): number | undefined {
    return this.#length === 0 ? undefined : this.#sources[0];
  }

  pop(): void {
    this.#length--;
    this.#keys[0] = this.#keys[this.#length]!;
    this.#sources[0] = this.#sources[this.#length]!;
    this.#sink(0);
  }

  rekeyTop(key: number): void {
    this.#keys[0] = key;
    this.#sink(0);
  }

  #sink(from: number): void {
    const keys = this.#keys;
    const sources = this.#sources;
    const key = keys[from]!;
    const source = sources[from]!;
    let hole = from;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= this.#length) break;
      if (child + 1 < this.#length && this.#isBefore(keys[child + 1]!, keys[child]!)) child++;
      if (!this.#isBefore(keys[child]!, key)) break;
      keys[hole] = keys[child]!;
      sources[hole] = sources[child]!;
      hole = child;
    }
    keys[hole] = key;
    sources[hole] = source;
  }
}
