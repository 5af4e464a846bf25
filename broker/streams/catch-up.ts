/* CatchUp: brings subscriptions from their position to the head, and makes them live there.
 *
 *   waiting ──turn──> a step: one page at most, in one synchronous stretch ──more──> waiting (when its session has room)
 *                        └──reached the head──> linked into the interest index, `live`
 *
 * Steps take turns in slices of the event loop, so that ten thousand resuming readers do not hold up one publish.
 *
 * The hand-over loses nothing and repeats nothing because a step is synchronous: it reads up to `head` (all that fan-out
 * was told of), links the subscription and sets its position to `head`; fan-out then gives it exactly what comes after.
 *
 * What a step reads may reflect commands that are applied and not yet durable (an unfollow, a delete). So its page leaves
 * only once the state it was read from is durable; live frames that come meanwhile are held back behind it. */

import { type Entry, type FollowList, type Offset, type State, type UserNo } from "../state/index.ts";
import type { Deliveries } from "./deliveries.ts";
import { Delivery } from "./delivery.ts";
import { type HomeReader, isShowable } from "./home.ts";
import type { Interest } from "./interest.ts";
import { MergeAfter, type Source, sourcesAfter } from "./merge.ts";
import { topicsOf } from "./pages.ts";
import { concerns, passes, relationOf } from "./predicate.ts";
import type { Subscription } from "./subscription.ts";
import { type Tail, tailKind } from "./tail.ts";

/** Events in one step, */
const pageEvents = 256;
/** and bytes of their frames: a page and what a session has room for must fit its outbox. */
const pageBytes = 262_144;
/** Entries of the tail, or of the log, looked at in one step. */
const maxScanned = 20_000;
/** LMDB look-ups of a merge in one step. */
const maxLookups = 1_000;
/** How long steps may hold the event loop, in ms. */
const sliceMs = 5;

export interface CatchUpParts {
  state: State;
  interest: Interest;
  deliveries: Deliveries;
  home: HomeReader;
  tail: Tail;
  /** Runs the callback once all up to the offset is durable. */
  whenDurable: (offset: Offset, callback: () => void) => void;
  /** A subscription's position fell below the floor while it caught up. */
  onTooOld: (subscription: Subscription) => void;
}

export class CatchUp {
  readonly #parts: CatchUpParts;
  readonly #marks = new Marks();
  /** Of the step's reader, once it was needed. */
  #followList: FollowList | undefined;
  #waiting: Subscription[] = [];
  #running = false;
  #delivered = 0;

  constructor(parts: CatchUpParts) {
    this.#parts = parts;
  }

  /** Events handed to sessions by catch-up, since the start. */
  get delivered(): number {
    return this.#delivered;
  }

  /** Subscriptions that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Gives the subscription its next turn. Call it when it begins, and when a session that had no room has room. */
  add(subscription: Subscription): void {
    if (subscription.isQueued) return;
    subscription.isQueued = true;
    this.#waiting.push(subscription);
    if (this.#running) return;
    this.#running = true;
    setImmediate(() => this.#slice());
  }

  #slice(): void {
    const end = performance.now() + sliceMs;
    let taken = 0;
    while (taken < this.#waiting.length && performance.now() < end) {
      const subscription = this.#waiting[taken++]!;
      if (subscription.state === "catching up" && subscription.sink.askForRoom()) this.#step(subscription);
      else subscription.isQueued = false;
    }
    this.#waiting = this.#waiting.slice(taken);
    this.#running = this.#waiting.length > 0;
    if (this.#running) setImmediate(() => this.#slice());
  }

  #step(subscription: Subscription): void {
    const { state, tail, interest, whenDurable, onTooOld } = this.#parts;
    state.refresh();
    if (subscription.position < state.meta.floor) {
      onTooOld(subscription);
      return;
    }
    this.#followList = undefined;
    const applied = state.applied();
    const head = tail.end;
    const before = subscription.position;
    const page = new CatchUpPage(subscription);
    this.#read(subscription, head, page);
    const isLive = subscription.position >= head && subscription.round === undefined;
    const { deliveries } = page;
    this.#delivered += deliveries.length;
    for (const delivery of deliveries) this.#hand(subscription, delivery);
    if (isLive) {
      const { stream } = subscription;
      interest.attach(
        subscription,
        stream.kind === "home" ? followedAt(this.#follows(stream.reader), head) : [],
      );
      subscription.state = "live";
      this.#hand(subscription, markDelivery(state, "live", subscription.position));
    } else if (deliveries.length === 0 && subscription.position > before) {
      this.#hand(subscription, markDelivery(state, "cursor", subscription.position));
    }
    whenDurable(applied, () => {
      subscription.isQueued = false;
      subscription.release();
      if (subscription.state === "catching up") this.add(subscription);
    });
  }

  /** Whom the reader of this step follows, read once. */
  #follows(reader: UserNo): FollowList {
    return (this.#followList ??= this.#parts.state.follows.list(reader));
  }

  /** Hands over behind the gate: nothing leaves before `release`. The position stays what the step has made it. */
  #hand(subscription: Subscription, delivery: Delivery): void {
    const { position } = subscription;
    subscription.hold();
    subscription.deliver(delivery);
    subscription.position = position;
  }

  /** Reads the next page towards `head` and moves the position to the end of what it covers. */
  #read(subscription: Subscription, head: Offset, page: CatchUpPage): void {
    const { stream, position } = subscription;
    if (position >= head) return;
    if (stream.kind === "firehose") {
      this.#scanLog(subscription, head, page);
      return;
    }
    if (stream.kind === "home" && subscription.round === undefined && position >= this.#parts.tail.start) {
      this.#scanTail(subscription, { reader: stream.reader, head }, page);
      return;
    }
    subscription.round ??= {
      merge: new MergeAfter(this.#parts.state, this.#sources(subscription), head),
      upTo: head,
    };
    this.#merge(subscription, subscription.round, page);
  }

  #sources({ stream, position }: Subscription): Source[] {
    const { state } = this.#parts;
    if (stream.kind === "firehose") return [];
    if (stream.kind !== "home") return topicsOf(stream).map((topic) => ({ topic, bound: position }));
    const { targets, since } = this.#follows(stream.reader);
    return sourcesAfter(state, [...targets, stream.reader], [...since, 0], position);
  }

  #merge(subscription: Subscription, round: NonNullable<Subscription["round"]>, page: CatchUpPage): void {
    const { stream } = subscription;
    if (stream.kind === "thread" && subscription.position < stream.root && stream.root <= round.upTo) {
      this.#show(subscription, stream.root, page);
    }
    const budget = { lookups: maxLookups };
    while (!page.isFull) {
      const offset = round.merge.next(budget);
      if (offset === "paused") return;
      if (offset === undefined) {
        subscription.round = undefined;
        subscription.position = round.upTo;
        return;
      }
      if (offset <= subscription.position) continue;
      const entry = this.#parts.state.entry(offset);
      subscription.position = offset;
      // A round outlasts its step: whom the reader follows may have changed since it was planned.
      const isAsked = entry !== undefined && (stream.kind !== "home" || this.#isPushed(stream.reader, entry));
      if (isAsked) this.#showEntry(subscription, entry, page);
    }
  }

  /** Whether what an author did came after `reader` began to follow them. Deletes are not tied to it. */
  #isPushed(reader: UserNo, entry: Entry): boolean {
    if (entry.kind === "delete" || entry.author === reader) return true;
    const since = this.#parts.state.follows.since(reader, entry.author);
    return since !== undefined && since < entry.offset;
  }

  /** The newest entries, by author: those of users who follow, or are, `reader`'s are looked at more closely. */
  #scanTail(
    subscription: Subscription,
    { reader, head }: { reader: UserNo; head: Offset },
    page: CatchUpPage,
  ): void {
    const { tail } = this.#parts;
    const marks = this.#marks;
    marks.take(this.#follows(reader), reader);
    const upTo = Math.min(head, subscription.position + maxScanned);
    for (let offset = subscription.position + 1; offset <= upTo; offset++) {
      const kind = tail.kind(offset);
      if (kind === tailKind.none) continue;
      if (kind === tailKind.authored && !(marks.since(tail.author(offset)) < offset)) continue;
      this.#show(subscription, offset, page);
      if (page.isFull) return;
    }
    subscription.position = upTo;
  }

  #scanLog(subscription: Subscription, head: Offset, page: CatchUpPage): void {
    const upTo = Math.min(head, subscription.position + maxScanned);
    for (const entry of this.#parts.state.entries(subscription.position, upTo)) {
      this.#showEntry(subscription, entry, page);
      if (page.isFull) return;
    }
    subscription.position = upTo;
  }

  #show(subscription: Subscription, offset: Offset, page: CatchUpPage): void {
    const entry = this.#parts.state.entry(offset);
    if (entry !== undefined) this.#showEntry(subscription, entry, page);
    subscription.position = offset;
  }

  /** Adds the entry's event if the stream shows it; the entry's topics are known to match, but for what is said below. */
  #showEntry(subscription: Subscription, entry: Entry, page: CatchUpPage): void {
    const { state, home } = this.#parts;
    const { stream } = subscription;
    subscription.position = entry.offset;
    if (!isShowable(entry)) return;
    // Deletes of reposted posts are filed together, whoever they concern.
    if (entry.kind === "delete" && entry.reposted && !concerns(state, stream, entry)) return;
    if (stream.kind === "home") {
      if (!home.admit(stream, entry, subscription)) return;
    } else if (!passes(state, stream, entry)) return;
    let delivery = this.#parts.deliveries.of(entry);
    if (delivery === undefined) return;
    if (stream.kind === "mentions" && entry.kind === "post") {
      delivery = delivery.related(relationOf(state, stream.reader, entry.author));
    }
    page.add(delivery);
  }
}

/** Those of `follows` that began at `head` or before. Fan-out hears of later ones in their turn, after what came before them. */
function followedAt({ targets, since }: FollowList, head: Offset): UserNo[] {
  return targets.filter((_, i) => since[i]! <= head);
}

/** What one step hands over. */
class CatchUpPage {
  readonly deliveries: Delivery[] = [];
  readonly #subscription: Subscription;
  #bytes = 0;

  constructor(subscription: Subscription) {
    this.#subscription = subscription;
  }

  get isFull(): boolean {
    return this.deliveries.length >= pageEvents || this.#bytes >= pageBytes;
  }

  add(delivery: Delivery): void {
    const { sink, number } = this.#subscription;
    this.deliveries.push(delivery);
    this.#bytes += delivery.frame(sink.encoder, number).bytes.length;
  }
}

/** The event that tells a reader's position when no entry does. */
export function markDelivery(state: State, event: "live" | "cursor", position: Offset): Delivery {
  return new Delivery(position, { event, cursor: state.positions.cursor(position) }, { before: position });
}

/** Since when one reader follows each author, by user number: taken anew for each step, without clearing what was before. */
class Marks {
  #taken = 0;
  #by = new Uint32Array(1024);
  #since = new Float64Array(1024);

  take(follows: FollowList, reader: UserNo): void {
    this.#taken = (this.#taken + 1) >>> 0;
    if (this.#taken === 0) this.#by.fill(0);
    this.#put(reader, 0);
    const { targets, since } = follows;
    for (let i = 0; i < targets.length; i++) this.#put(targets[i]!, since[i]!);
  }

  /** The offset since which `author` is followed; NaN, which is less than nothing, when they are not. */
  since(author: UserNo): Offset {
    return this.#by[author] === this.#taken ? this.#since[author]! : Number.NaN;
  }

  #put(author: UserNo, since: Offset): void {
    if (author >= this.#by.length) {
      const length = Math.max(author + 1, this.#by.length * 2);
      const by = new Uint32Array(length);
      by.set(this.#by);
      const sinces = new Float64Array(length);
      sinces.set(this.#since);
      this.#by = by;
      this.#since = sinces;
    }
    this.#by[author] = this.#taken;
    this.#since[author] = since;
  }
}
