/* Pages: `read`, a page back or forth through any stream.
 *
 * A page shows the stream as the present relations have it, also what is older than a follow: that is what one pages back
 * for. Items are in the order of the log. A page may hold fewer items than its limit where entries were hidden; `before`
 * and `after` say whether there is more. The caller sends it once `applied` is durable.
 *
 * It is read in steps (readings.ts). Where it takes more than one, what is true may change under it:
 *  - it goes up to the head of its first step;
 *  - its items are made in its last, of what is true then: what was deleted, trimmed or unfollowed meanwhile is not among them;
 *  - a follow that came meanwhile shows nothing: it would show its author's entries from the middle of the page on. */

import { type StreamItem, limits } from "../../protocol/index.ts";
import {
  type Entry,
  type Offset,
  type State,
  type UserNo,
  authorTopic,
  mentionTopic,
  retractedTopic,
  tagTopic,
  threadTopic,
} from "../state/index.ts";
import type { Deliveries } from "./deliveries.ts";
import { type HomeReader, isShowable } from "./home.ts";
import { MergeAfter, MergeBefore, type Source } from "./merge.ts";
import { concerns, passes, relationOf } from "./predicate.ts";
import type { Steps, Work } from "./readings.ts";
import { Recent, recentCount } from "./recent.ts";
import type { Stream } from "./stream.ts";

/** Entries looked at for one page: a page of a stream whose filter lets little through ends there, and says how to go on. */
const maxLooked = 5_000;
/** Entries of the log looked at for the newest of a home whose reader follows very many, before it is merged. */
const maxLookedInLog = 2_000;
/** What finding out whom a delete concerns costs, in look-ups. */
const comparedLookups = 50;

export interface Page {
  items: StreamItem[];
  /** Items with smaller offsets are before it; undefined at the beginning of the stream. */
  before: Offset | undefined;
  /** Items with greater offsets are after it. */
  after: Offset;
}

export interface PageRequest {
  stream: Stream;
  before?: Offset;
  after?: Offset;
  limit: number;
}

interface Found {
  candidates: Entry[];
  last: Offset | undefined;
  isEnd: boolean;
}

/** Gives the next offset to look at; undefined at the end, `paused` where a step is over. */
type Next = (work: Work) => Offset | "paused" | undefined;

export class Pages {
  readonly #state: State;
  readonly #deliveries: Deliveries;
  readonly #home: HomeReader;

  constructor(state: State, deliveries: Deliveries, home: HomeReader) {
    this.#state = state;
    this.#deliveries = deliveries;
    this.#home = home;
  }

  *read({ stream, before, after, limit }: PageRequest, work: Work): Steps<Page> {
    const begun = this.#state.applied();
    // Where a reader follows very many, most of the log is theirs, and to merge would take a look at each whom they follow.
    // Forth a page ends where it has looked enough; back one that is not full is merged.
    const isDense = stream.kind === "home" && this.#home.followsMany(stream.reader);
    if (after !== undefined) {
      const found = isDense
        ? yield* this.#collect(stream, offsetsBetween(after, begun), { limit, isLog: true }, work)
        : yield* this.#collect(
            stream,
            yield* this.#offsetsAfter(stream, after, begun, work),
            { limit },
            work,
          );
      return {
        items: yield* this.#items(stream, found.candidates, begun, work),
        before: found.candidates[0]?.offset ?? after + 1,
        after: found.isEnd ? begun : (found.last ?? after),
      };
    }
    const from = before ?? begun + 1;
    const found =
      (isDense ? yield* this.#newestInLog(stream, from, limit, work) : undefined) ??
      (yield* this.#collect(stream, yield* this.#offsetsBefore(stream, from, work), { limit }, work));
    const candidates = found.candidates.toReversed();
    return {
      items: yield* this.#items(stream, candidates, begun, work),
      before: found.isEnd ? undefined : found.last,
      after: candidates.at(-1)?.offset ?? Math.min(from - 1, begun),
    };
  }

  *#newestInLog(stream: Stream, before: Offset, limit: number, work: Work): Steps<Found | undefined> {
    const found = yield* this.#collect(
      stream,
      this.#logBefore(before),
      { limit, isLog: true, most: maxLookedInLog },
      work,
    );
    return found.isEnd || found.candidates.length === limit ? found : undefined;
  }

  #logBefore(before: Offset): Next {
    let next = Math.min(before, this.#state.applied() + 1);
    return () => (--next > this.#state.meta.floor ? next : undefined);
  }

  /** The next candidates in the order of `next`, until there are enough. `last`: the last offset looked at. `isLog`: of all that
   *  `next` gives, what concerns the stream. */
  *#collect(
    stream: Stream,
    next: Next,
    { limit, isLog = false, most = maxLooked }: { limit: number; isLog?: boolean; most?: number },
    work: Work,
  ): Steps<Found> {
    const found: Found = { candidates: [], last: undefined, isEnd: false };
    let looked = 0;
    let bytes = 0;
    while (found.candidates.length < limit && looked < most && bytes < limits.pageBytes) {
      const offset = work.isOver ? "paused" : next(work);
      if (offset === "paused") {
        yield;
        continue;
      }
      if (offset === undefined) return { ...found, isEnd: true };
      if (offset === found.last) continue; // of two topics
      found.last = offset;
      const left = work.lookups;
      const entry = this.#candidate(stream, offset, isLog, work);
      looked += left - work.lookups;
      if (entry === undefined) continue;
      found.candidates.push(entry);
      bytes += this.#bytesOf(entry);
    }
    return found;
  }

  /** About how many bytes an entry's event takes. */
  #bytesOf(entry: Entry): number {
    const post = entry.kind === "repost" ? this.#state.entry(entry.original) : entry;
    return 200 + (post?.kind === "post" ? post.packed.length : 0);
  }

  /** The entry at `offset` if the stream shows it by all rules but the recent 40. */
  #candidate(stream: Stream, offset: Offset, isLog: boolean, work: Work): Entry | undefined {
    const entry = this.#state.entry(offset);
    work.take();
    if (!isShowable(entry)) return undefined;
    const isFiledTogether = entry.kind === "delete" && entry.reposted;
    if (isFiledTogether) work.take(comparedLookups);
    // What a merge finds concerns the stream by its topic, but for deletes of reposted posts: they are filed together.
    if ((isLog || entry.kind === "delete") && !concerns(this.#state, stream, entry)) return undefined;
    return passes(this.#state, stream, entry) ? entry : undefined;
  }

  /** The events of candidates in offset order, as of the step in which they are made. */
  *#items(stream: Stream, candidates: Entry[], begun: Offset, work: Work): Steps<StreamItem[]> {
    const recent = new Recent();
    if (stream.kind === "home" && candidates.some((entry) => entry.kind === "repost")) {
      // Where reposts are among them, the 40 before the first decide too.
      const lookback = { before: candidates[0]!.offset, most: recentCount, pushed: false };
      recent.prime(yield* this.#home.originalsBefore(stream, lookback, work));
    }
    if (work.lookups < candidates.length) yield;
    const isLater = work.steps > 1;
    const items: StreamItem[] = [];
    for (const candidate of candidates) {
      work.take();
      const entry = isLater ? this.#still(stream, candidate, begun) : candidate;
      if (!isShowable(entry)) continue;
      if (stream.kind === "home" && !this.#home.admit(stream, entry, recent)) continue;
      let delivery = this.#deliveries.of(entry);
      if (delivery === undefined) continue;
      if (stream.kind === "mentions" && entry.kind === "post") {
        delivery = delivery.related(relationOf(this.#state, stream.reader, entry.author));
      }
      items.push(delivery.event as StreamItem);
    }
    return items;
  }

  /** What a candidate of an earlier step is by now; undefined when it is to be shown no more. */
  #still(stream: Stream, candidate: Entry, begun: Offset): Entry | undefined {
    const entry = this.#state.entry(candidate.offset);
    // To be told of a delete once more does no harm, and to find out whom it concerns costs much.
    if (entry === undefined || entry.kind === "delete") return entry;
    if (stream.kind === "home" && entry.author !== stream.reader) {
      const since = this.#state.follows.since(stream.reader, entry.author);
      if (since === undefined || since > begun) return undefined;
    }
    return passes(this.#state, stream, entry) ? entry : undefined;
  }

  *#offsetsBefore(stream: Stream, before: Offset, work: Work): Steps<Next> {
    if (stream.kind === "firehose") return this.#logBefore(before);
    const merge = new MergeBefore(
      this.#state,
      stream.kind === "home"
        ? yield* this.#homeSourcesBefore(stream.reader, before, work)
        : topicsOf(stream).map((topic): Source => ({ topic, bound: before })),
    );
    if (stream.kind !== "thread") return (budget) => merge.next(budget);
    let root: Offset | undefined = stream.root < before ? stream.root : undefined;
    return (budget) => {
      const reply = merge.next(budget);
      if (reply !== undefined) return reply;
      const first = root;
      root = undefined;
      return first;
    };
  }

  *#offsetsAfter(stream: Stream, after: Offset, upTo: Offset, work: Work): Steps<Next> {
    if (stream.kind === "firehose") return offsetsBetween(after, upTo);
    const sources =
      stream.kind === "home"
        ? yield* this.#homeSourcesAfter(stream.reader, after, work)
        : topicsOf(stream).map((topic): Source => ({ topic, bound: after }));
    const merge = new MergeAfter(this.#state, sources, upTo);
    if (stream.kind !== "thread" || stream.root <= after) return (budget) => merge.next(budget);
    let isRoot = true;
    return (budget) => {
      if (!isRoot) return merge.next(budget);
      isRoot = false;
      return stream.root;
    };
  }

  *#homeSourcesBefore(reader: UserNo, before: Offset, work: Work): Steps<Source[]> {
    const sources = yield* this.#home.sourcesBefore(reader, before, work);
    sources.push({ topic: retractedTopic, bound: before });
    return sources;
  }

  *#homeSourcesAfter(reader: UserNo, after: Offset, work: Work): Steps<Source[]> {
    const sources = yield* this.#home.sourcesAfter(reader, after, work);
    sources.push({ topic: retractedTopic, bound: after });
    return sources;
  }
}

function offsetsBetween(after: Offset, upTo: Offset): Next {
  let next = after;
  return () => (++next <= upTo ? next : undefined);
}

/** The topics of a stream that has a few fixed ones. */
export function topicsOf(stream: Exclude<Stream, { kind: "home" | "firehose" }>): Buffer[] {
  switch (stream.kind) {
    case "mentions":
      return [mentionTopic(stream.reader)];
    case "user":
      return [authorTopic(stream.user), retractedTopic];
    case "tag":
      return [tagTopic(stream.tag)];
    case "thread":
      return [threadTopic(stream.root)];
  }
}
