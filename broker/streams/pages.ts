/* Pages: `read`, a page back or forth through any stream.
 *
 * A page shows the stream as the present relations have it, also what is older than a follow: that is what one pages back
 * for. Items are in the order of the log. A page may hold fewer items than its limit where entries were hidden; `before`
 * and `after` say whether there is more. The caller sends it once `applied` is durable. */

import type { StreamItem } from "../../protocol/index.ts";
import {
  type Entry,
  type Offset,
  type State,
  authorTopic,
  maxOffset,
  mentionTopic,
  retractedTopic,
  tagTopic,
  threadTopic,
} from "../state/index.ts";
import type { Deliveries } from "./deliveries.ts";
import { type HomeReader, isShowable } from "./home.ts";
import { MergeAfter, MergeBefore, type Source, sourcesAfter, sourcesBefore } from "./merge.ts";
import { concerns, passes, relationOf } from "./predicate.ts";
import { Recent, recentCount } from "./recent.ts";
import type { Stream } from "./stream.ts";

/** Entries looked at for one page: a page of a stream whose filter lets little through ends there, and says how to go on. */
const maxLooked = 5_000;

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

export class Pages {
  readonly #state: State;
  readonly #deliveries: Deliveries;
  readonly #home: HomeReader;

  constructor(state: State, deliveries: Deliveries, home: HomeReader) {
    this.#state = state;
    this.#deliveries = deliveries;
    this.#home = home;
  }

  read(request: PageRequest): Page {
    const applied = this.#state.applied();
    if (request.after !== undefined) return this.#readAfter(request, request.after, applied);
    return this.#readBefore(request, request.before ?? applied + 1, applied);
  }

  /** The newest `limit` candidates before `before`. Where reposts are among them, the 40 before those decide too. */
  #readBefore({ stream, limit }: PageRequest, before: Offset, applied: Offset): Page {
    const offsets = this.#offsetsBefore(stream, before);
    const candidates: Entry[] = [];
    let looked = 0;
    let last: Offset | undefined;
    let reachedEnd = false;
    while (candidates.length < limit && looked < maxLooked) {
      const offset = offsets();
      if (offset === undefined) {
        reachedEnd = true;
        break;
      }
      if (offset === last) continue;
      last = offset;
      looked++;
      const entry = this.#candidate(stream, offset);
      if (entry !== undefined) candidates.push(entry);
    }
    candidates.reverse();
    const recent = new Recent();
    if (stream.kind === "home" && candidates.some((entry) => entry.kind === "repost")) {
      recent.prime(this.#home.originalsBefore(stream, candidates[0]!.offset, recentCount, false));
    }
    const items = this.#items(stream, candidates, recent);
    return {
      items,
      before: reachedEnd ? undefined : last,
      after: candidates.at(-1)?.offset ?? Math.min(before - 1, applied),
      applied,
    };
  }

  #readAfter({ stream, limit }: PageRequest, after: Offset, applied: Offset): Page {
    const offsets = this.#offsetsAfter(stream, after, applied);
    const candidates: Entry[] = [];
    let last = after;
    let looked = 0;
    let reachedEnd = false;
    while (candidates.length < limit && looked < maxLooked) {
      const offset = offsets();
      if (offset === undefined) {
        reachedEnd = true;
        break;
      }
      if (offset === last) continue;
      last = offset;
      looked++;
      const entry = this.#candidate(stream, offset);
      if (entry !== undefined) candidates.push(entry);
    }
    const recent = new Recent();
    if (stream.kind === "home" && candidates.some((entry) => entry.kind === "repost")) {
      recent.prime(this.#home.originalsBefore(stream, candidates[0]!.offset, recentCount, false));
    }
    const items = this.#items(stream, candidates, recent);
    const first = candidates[0]?.offset;
    return { items, before: first ?? after + 1, after: reachedEnd ? applied : last, applied };
  }

  /** The entry at `offset` if the stream shows it by all rules but the recent 40. */
  #candidate(stream: Stream, offset: Offset): Entry | undefined {
    const entry = this.#state.entry(offset);
    if (!isShowable(entry) || !passes(this.#state, stream, entry)) return undefined;
    // What a merge finds concerns the stream by its topic, but for deletes of reposted posts: they are filed together.
    if (entry.kind === "delete" && !concerns(this.#state, stream, entry)) return undefined;
    return entry;
  }

  #items(stream: Stream, candidates: Entry[], recent: Recent): StreamItem[] {
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
    if (stream.kind === "firehose") {
      let next = Math.min(before, this.#state.applied() + 1);
      return () => (--next > this.#state.meta.floor ? next : undefined);
    }
    const merge = new MergeBefore(
      this.#state,
      stream.kind === "home"
        ? sourcesBefore(
            this.#state,
            [...this.#state.follows.list(stream.reader).targets, stream.reader],
            before,
          )
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
    if (stream.kind === "firehose") {
      let next = after;
      return () => (++next <= upTo ? next : undefined);
    }
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

  #homeSourcesAfter(reader: number, after: Offset): Source[] {
    const authors = [...this.#state.follows.list(reader).targets, reader];
    return sourcesAfter(
      this.#state,
      authors,
      authors.map(() => 0),
      after,
    );
  }
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

/** Before any offset there can be. */
export const beyondHead = maxOffset;
