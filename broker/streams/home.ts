/* HomeReader: what a home stream shows, entry by entry, and its candidates further back. */

import type {
  DeleteEntry,
  Entry,
  FollowList,
  Offset,
  PostEntry,
  RepostEntry,
  State,
  UserNo,
} from "../state/index.ts";
import { MergeBefore, sourcesBefore } from "./merge.ts";
import { passes } from "./predicate.ts";
import { type Candidates, recentCount } from "./recent.ts";
import type { Stream } from "./stream.ts";

/** Follows from which on a reader's home is so dense that its latest entries are found in the log sooner than by a merge. */
export const manyFollows = 2_000;
/** Entries looked at in search of earlier candidates before the search is given up. */
const maxLookback = 2_000;
/** Reposters of one original looked at before it is taken as reposted earlier. */
const maxReposters = 16;

export class HomeReader {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  /** Whether an entry by someone the reader follows (or themself) is shown; notes it as a candidate when it is one. */
  admit(stream: Stream, entry: PostEntry | RepostEntry | DeleteEntry, candidates: Candidates): boolean {
    if (stream.kind !== "home" || !passes(this.#state, stream, entry)) return false;
    if (entry.kind === "post") candidates.note(entry.offset);
    if (entry.kind !== "repost") return true;
    const isRepeated = this.#isRecent(stream, entry, candidates);
    candidates.note(entry.original);
    return !isRepeated;
  }

  /** The originals of the last candidates before `before`, newest first. `pushed`: only what follows its author's follow. */
  originalsBefore(
    stream: Stream & { kind: "home" },
    before: Offset,
    most: number,
    pushed: boolean,
  ): Offset[] {
    const some = this.#state.follows.list(stream.reader, 0, manyFollows + 1);
    if (some.targets.length > manyFollows) {
      const found = this.#originalsInLog(stream, before, most, pushed);
      if (found.length === most) return found;
    }
    const originals: Offset[] = [];
    const follows = some.targets.length > manyFollows ? this.#state.follows.list(stream.reader) : some;
    const merge = new MergeBefore(
      this.#state,
      sourcesBefore(this.#state, [...follows.targets, stream.reader], before),
    );
    for (let looked = 0; originals.length < most && looked < maxLookback; looked++) {
      const offset = merge.next();
      if (offset === undefined) break;
      const entry = this.#state.entry(offset);
      if (entry?.kind !== "post" && entry?.kind !== "repost") continue;
      if (pushed && offset <= sinceOf(follows, stream.reader, entry.author)) continue;
      if (passes(this.#state, stream, entry)) originals.push(originalOf(entry));
    }
    return originals;
  }

  /** The same, as far as the log's last entries before `before` have them. */
  #originalsInLog(
    stream: Stream & { kind: "home" },
    before: Offset,
    most: number,
    pushed: boolean,
  ): Offset[] {
    const originals: Offset[] = [];
    const { reader } = stream;
    let looked = 0;
    for (const entry of this.#state.entriesBefore(before)) {
      if (originals.length === most || ++looked > maxLookback) break;
      if (entry.kind !== "post" && entry.kind !== "repost") continue;
      const since = entry.author === reader ? 0 : this.#state.follows.since(reader, entry.author);
      if (since === undefined || (pushed && entry.offset <= since)) continue;
      if (passes(this.#state, stream, entry)) originals.push(originalOf(entry));
    }
    return originals;
  }

  #isRecent(stream: Stream & { kind: "home" }, entry: RepostEntry, { recent }: Candidates): boolean {
    if (!recent.has(entry.original) && !recent.primed && this.#mayHaveSeen(stream.reader, entry)) {
      recent.prime(this.originalsBefore(stream, entry.offset, recentCount, true));
    }
    return recent.has(entry.original);
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

/** The offset from which a reader is pushed what `author` does: 0 for themself, infinity for one they do not follow. */
export function sinceOf(follows: FollowList, reader: UserNo, author: UserNo): Offset {
  if (author === reader) return 0;
  const { targets, since } = follows;
  let low = 0;
  let high = targets.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const target = targets[middle]!;
    if (target === author) return since[middle]!;
    if (target < author) low = middle + 1;
    else high = middle - 1;
  }
  return Number.POSITIVE_INFINITY;
}

/** Whether an entry is a post, a repost or a delete: what streams are made of. */
export function isShowable(entry: Entry | undefined): entry is PostEntry | RepostEntry | DeleteEntry {
  return entry?.kind === "post" || entry?.kind === "repost" || entry?.kind === "delete";
}
