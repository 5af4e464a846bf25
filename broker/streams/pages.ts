/* Pages: `read`, a page back or forth through any stream.
 *
 * A page shows the stream as the present relations have it, also what is older than a follow: that is what one pages back
 * for. Items are in the order of the log. A page may hold fewer items than its limit where entries were hidden; `before`
 * and `after` say whether there is more. The caller sends it once `applied` is durable. */

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
import { type HomeReader, isShowable, manyFollows } from "./home.ts";
import { MergeAfter, MergeBefore, type Source, sourcesAfter, sourcesBefore } from "./merge.ts";
import { concerns, passes, relationOf } from "./predicate.ts";
import { Recent, recentCount } from "./recent.ts";
import type { Stream } from "./stream.ts";

/** Entries looked at for one page: a page of a stream whose filter lets little through ends there, and says how to go on. */
const maxLooked = 5_000;
/** Entries of the log looked at for the newest of a home whose reader follows very many, before it is merged. */
const maxLookedInLog = 2_000;

export interface Page {
  items: StreamItem[];
  /** Items with smaller offsets are before it; undefined at the beginning of the stream. */
  before: Offset | undefined;
  /** Items with greater offsets are after it. */
  after: Offset;
  /** The snapshot it was read from. */
  applied: Offset;
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

export class Pages {
  readonly #state: State;
  readonly #deliveries: Deliveries;
  readonly #home: HomeReader;

  constructor(state: State, deliveries: Deliveries, home: HomeReader) {
    this.#state = state;
    this.#deliveries = deliveries;
    this.#home = home;
  }

  read({ stream, before, after, limit }: PageRequest): Page {
    const applied = this.#state.applied();
    const isDense = stream.kind === "home" && this.#followsMany(stream.reader);
    if (after !== undefined) {
      const found = isDense
        ? this.#collect(stream, offsetsBetween(after, applied), limit, { isLog: true })
        : this.#collect(stream, this.#offsetsAfter(stream, after, applied), limit);
      return {
        items: this.#items(stream, found.candidates),
        before: found.candidates[0]?.offset ?? after + 1,
        after: found.isEnd ? applied : (found.last ?? after),
        applied,
      };
    }
    const from = before ?? applied + 1;
    const found =
      (isDense ? this.#newestInLog(stream, from, limit) : undefined) ??
      this.#collect(stream, this.#offsetsBefore(stream, from), limit);
    const candidates = found.candidates.toReversed();
    return {
      items: this.#items(stream, candidates),
      before: found.isEnd ? undefined : found.last,
      after: candidates.at(-1)?.offset ?? Math.min(from - 1, applied),
      applied,
    };
  }

  /**
   * Whether a home is read off the log: where its reader follows very many, most of the log is theirs, and to merge would take
   * a look at each whom they follow. Forth a page ends where it has looked enough; back one that is not full is merged.
   */
  #followsMany(reader: UserNo): boolean {
    return this.#state.follows.list(reader, 0, manyFollows + 1).targets.length > manyFollows;
  }

  #newestInLog(stream: Stream, before: Offset, limit: number): Found | undefined {
    const offsets = this.#logBefore(before);
    const found = this.#collect(stream, offsets, limit, { isLog: true, most: maxLookedInLog });
    return found.isEnd || found.candidates.length === limit ? found : undefined;
  }

  #logBefore(before: Offset): () => Offset | undefined {
    let next = Math.min(before, this.#state.applied() + 1);
    return () => (--next > this.#state.meta.floor ? next : undefined);
  }

  /** The next candidates in the order of `next`, until there are enough. `last`: the last offset looked at. `isLog`: of all that
   *  `next` gives, what concerns the stream. */
  #collect(
    stream: Stream,
    next: () => Offset | undefined,
    limit: number,
    { isLog = false, most = maxLooked }: { isLog?: boolean; most?: number } = {},
  ): Found {
    const found: Found = { candidates: [], last: undefined, isEnd: false };
    let looked = 0;
    let bytes = 0;
    while (found.candidates.length < limit && looked < most && bytes < limits.pageBytes) {
      const offset = next();
      if (offset === undefined) return { ...found, isEnd: true };
      if (offset === found.last) continue; // of two topics
      found.last = offset;
      looked++;
      const entry = this.#candidate(stream, offset, isLog);
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
  #candidate(stream: Stream, offset: Offset, isLog: boolean): Entry | undefined {
    const entry = this.#state.entry(offset);
    if (!isShowable(entry)) return undefined;
    // What a merge finds concerns the stream by its topic, but for deletes of reposted posts: they are filed together.
    if ((isLog || entry.kind === "delete") && !concerns(this.#state, stream, entry)) return undefined;
    return passes(this.#state, stream, entry) ? entry : undefined;
  }

  /** The events of candidates in offset order. Where reposts are among them, the 40 before the first decide too. */
  #items(stream: Stream, candidates: Entry[]): StreamItem[] {
    const recent = new Recent();
    if (stream.kind === "home" && candidates.some((entry) => entry.kind === "repost")) {
      recent.prime(this.#home.originalsBefore(stream, candidates[0]!.offset, recentCount, false));
    }
    const items: StreamItem[] = [];
    for (const entry of candidates) {
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

  #offsetsBefore(stream: Stream, before: Offset): () => Offset | undefined {
    if (stream.kind === "firehose") return this.#logBefore(before);
    const merge = new MergeBefore(
      this.#state,
      stream.kind === "home"
        ? this.#homeSourcesBefore(stream.reader, before)
        : topicsOf(stream).map((topic): Source => ({ topic, bound: before })),
    );
    if (stream.kind !== "thread") return () => merge.next();
    let root: Offset | undefined = stream.root < before ? stream.root : undefined;
    return () => {
      const reply = merge.next();
      if (reply !== undefined) return reply;
      const first = root;
      root = undefined;
      return first;
    };
  }

  #offsetsAfter(stream: Stream, after: Offset, upTo: Offset): () => Offset | undefined {
    if (stream.kind === "firehose") return offsetsBetween(after, upTo);
    const sources =
      stream.kind === "home"
        ? this.#homeSourcesAfter(stream.reader, after)
        : topicsOf(stream).map((topic): Source => ({ topic, bound: after }));
    const merge = new MergeAfter(this.#state, sources, upTo);
    const unlimited = { lookups: Number.MAX_SAFE_INTEGER };
    const next = (): Offset | undefined => merge.next(unlimited) as Offset | undefined;
    if (stream.kind !== "thread" || stream.root <= after) return next;
    let isRoot = true;
    return () => {
      if (!isRoot) return next();
      isRoot = false;
      return stream.root;
    };
  }

  #homeSourcesBefore(reader: UserNo, before: Offset): Source[] {
    const { targets } = this.#state.follows.list(reader);
    const sources = sourcesBefore(this.#state, [...targets, reader], before);
    sources.push({ topic: retractedTopic, bound: before });
    return sources;
  }

  #homeSourcesAfter(reader: UserNo, after: Offset): Source[] {
    const { targets } = this.#state.follows.list(reader);
    const all = { targets: [...targets, reader], since: [...targets, reader].map(() => 0) };
    const sources = sourcesAfter(this.#state, all, after);
    sources.push({ topic: retractedTopic, bound: after });
    return sources;
  }
}

function offsetsBetween(after: Offset, upTo: Offset): () => Offset | undefined {
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
