/* HomeReader: what a home stream shows, entry by entry, and its candidates further back.
 *
 * What costs as much as its reader follows is done in steps (readings.ts). */

import type { DeleteEntry, Entry, Offset, PostEntry, RepostEntry, State, UserNo } from "../state/index.ts";
import { MergeBefore, type Source, sourcesAfter, sourcesBefore } from "./merge.ts";
import { passes } from "./predicate.ts";
import { type Steps, Work, atOnce } from "./readings.ts";
import { type Candidates, recentCount } from "./recent.ts";
import type { Stream } from "./stream.ts";

/** Follows from which on a reader's home is so dense that its latest entries are found in the log sooner than by a merge. */
export const manyFollows = 2_000;
/** Entries looked at in search of earlier candidates before the search is given up. */
const maxLookback = 2_000;
/** Reposters of one original looked at before it is taken as reposted earlier. */
const maxReposters = 16;
/** Follows taken at a time into the sources of a merge; to look back over more takes steps. */
const followsAtOnce = 256;
/** How many of them cost what a look-up does. */
const followsPerLookup = 4;

type Home = Stream & { kind: "home" };

interface Range {
  before: Offset;
  most: number;
  pushed: boolean;
}

/** A look at a reader's last candidates, on which it depends whether the repost `at` is shown. */
export interface Lookback {
  at: Offset;
  work: Work;
  steps: Steps<Offset[]>;
  /** The candidates are known. */
  isDone: boolean;
}

export class HomeReader {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  /** Whether an entry by someone the reader follows (or themself) is shown; notes it as a candidate when it is one. Where that
   *  `takesLookback`, it is made before: else it is made in this stretch of code. */
  admit(stream: Stream, entry: PostEntry | RepostEntry | DeleteEntry, candidates: Candidates): boolean {
    if (stream.kind !== "home" || !passes(this.#state, stream, entry)) return false;
    if (entry.kind === "post") candidates.note(entry.offset);
    if (entry.kind !== "repost") return true;
    const isRepeated = this.#isRecent(stream, entry, candidates);
    candidates.note(entry.original);
    return !isRepeated;
  }

  /** The originals of the last candidates before `before`, newest first. `pushed`: only what follows its author's follow. */
  *originalsBefore(stream: Home, { before, most, pushed }: Range, work: Work): Steps<Offset[]> {
    if (this.followsMany(stream.reader)) {
      const found = yield* this.#originalsInLog(stream, { before, most, pushed }, work);
      if (found.length === most) return found;
    }
    const originals: Offset[] = [];
    const merge = new MergeBefore(this.#state, yield* this.sourcesBefore(stream.reader, before, work));
    for (let looked = 0; originals.length < most && looked < maxLookback; looked++) {
      let offset = merge.next(work);
      for (; offset === "paused"; offset = merge.next(work)) yield;
      if (offset === undefined) break;
      const entry = this.#state.entry(offset);
      work.take();
      if (this.#isCandidate(stream, entry, pushed)) originals.push(originalOf(entry));
    }
    return originals;
  }

  /** The same, as far as the log's last entries before `before` have them. */
  *#originalsInLog(stream: Home, { before, most, pushed }: Range, work: Work): Steps<Offset[]> {
    const originals: Offset[] = [];
    let from = before;
    for (let looked = 0; looked < maxLookback;) {
      const start = looked;
      for (const entry of this.#state.entriesBefore(from)) {
        if (originals.length === most || work.isOver || ++looked > maxLookback) break;
        from = entry.offset;
        work.take();
        if (this.#isCandidate(stream, entry, pushed)) originals.push(originalOf(entry));
      }
      if (originals.length === most) break;
      if (work.isOver) yield;
      else if (looked === start) break; // the log begins here
    }
    return originals;
  }

  #isCandidate(stream: Home, entry: Entry | undefined, pushed: boolean): entry is PostEntry | RepostEntry {
    if (entry?.kind !== "post" && entry?.kind !== "repost") return false;
    if (entry.author !== stream.reader) {
      const since = this.#state.follows.since(stream.reader, entry.author);
      if (since === undefined || (pushed && entry.offset <= since)) return false;
    }
    return passes(this.#state, stream, entry);
  }

  /** Whether a home's latest entries are found in the log sooner than by a merge. */
  followsMany(reader: UserNo): boolean {
    return this.#state.follows.isOver(reader, manyFollows);
  }

  /** The sources of what `reader` and those whom they follow did before `before`. */
  *sourcesBefore(reader: UserNo, before: Offset, work: Work): Steps<Source[]> {
    const sources = sourcesBefore(this.#state, [reader], before);
    for (const targets of this.#follows(reader, work)) {
      if (targets === undefined) yield;
      else for (const source of sourcesBefore(this.#state, targets, before)) sources.push(source);
    }
    return sources;
  }

  /** The sources of what `reader` and those whom they follow did after `after`, also before the follow. */
  *sourcesAfter(reader: UserNo, after: Offset, work: Work): Steps<Source[]> {
    const sources = sourcesAfter(this.#state, { targets: [reader], since: [0] }, after);
    for (const targets of this.#follows(reader, work)) {
      if (targets === undefined) yield;
      else {
        const follows = { targets, since: targets.map(() => 0) };
        for (const source of sourcesAfter(this.#state, follows, after)) sources.push(source);
      }
    }
    return sources;
  }

  /** Whom `reader` follows, some at a time; undefined where a step is over. */
  *#follows(reader: UserNo, work: Work): Generator<UserNo[] | undefined, void> {
    let after = 0;
    for (;;) {
      const { targets } = this.#state.follows.list(reader, after, followsAtOnce);
      work.take(Math.ceil(targets.length / followsPerLookup));
      yield targets;
      if (targets.length < followsAtOnce) return;
      after = targets.at(-1)!;
      if (work.isOver) yield undefined;
    }
  }

  /** Whether an entry of a home can be judged only after a look back that is too long for one stretch of code. */
  takesLookback(stream: Home, entry: Entry, candidates: Candidates): entry is RepostEntry {
    if (entry.kind !== "repost" || candidates.recent.primed) return false;
    return (
      this.#state.follows.isOver(stream.reader, followsAtOnce) &&
      this.#needsPriming(stream, entry, candidates)
    );
  }

  /** What came before `entry`, to be looked at in steps. */
  lookback(stream: Home, { offset }: RepostEntry): Lookback {
    const work = new Work();
    return { at: offset, work, steps: this.#lastBefore(stream, offset, work), isDone: false };
  }

  #lastBefore(stream: Home, before: Offset, work: Work): Steps<Offset[]> {
    return this.originalsBefore(stream, { before, most: recentCount, pushed: true }, work);
  }

  #isRecent(stream: Home, entry: RepostEntry, candidates: Candidates): boolean {
    const { recent } = candidates;
    if (this.#needsPriming(stream, entry, candidates))
      recent.prime(atOnce((work) => this.#lastBefore(stream, entry.offset, work)));
    return recent.has(entry.original);
  }

  #needsPriming(stream: Home, entry: RepostEntry, { recent }: Candidates): boolean {
    return !recent.has(entry.original) && !recent.primed && this.#mayHaveSeen(stream.reader, entry);
  }

  /** A cheap answer to whether the original can have been in the reader's home before; most often it cannot. */
  #mayHaveSeen(reader: UserNo, entry: RepostEntry): boolean {
    const { original, originalAuthor, offset } = entry;
    if (originalAuthor === reader || this.#state.follows.has(reader, originalAuthor)) return true;
    return this.#state.reposts.anyBefore(original, offset, maxReposters);
  }
}

/** The post that a candidate shows. */
export function originalOf(entry: PostEntry | RepostEntry): Offset {
  return entry.kind === "post" ? entry.offset : entry.original;
}

/** Whether an entry is a post, a repost or a delete: what streams are made of. */
export function isShowable(entry: Entry | undefined): entry is PostEntry | RepostEntry | DeleteEntry {
  return entry?.kind === "post" || entry?.kind === "repost" || entry?.kind === "delete";
}
