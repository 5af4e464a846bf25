/* CatchUp: brings subscriptions from their position to the head, and makes them live there.
 *
 *   waiting ──turn──> a step: one page at most, in one synchronous stretch ──more──> waiting (when its session has room)
 *                        └──reached the head──> linked into the interest index, `live`
 *
 * Steps take turns (turns.ts), so that ten thousand resuming readers do not hold up one publish.
 *
 * The hand-over loses nothing and repeats nothing because a step is synchronous: it reads up to `head` (all that fan-out
 * was told of), links the subscription and sets its position to `head`; fan-out then gives it exactly what comes after.
 *
 * What a step reads may reflect commands that are applied and not yet durable (an unfollow, a delete). So its page leaves
 * only once the state it was read from is durable; live frames that come meanwhile are held back behind it. */

import {
  type Entry,
  type FollowList,
  type Offset,
  type RepostEntry,
  type State,
  type UserNo,
  RecentMap,
  retractedTopic,
} from "../state/index.ts";
import { CatchUpPage } from "./catch-up-page.ts";
import type { Deliveries } from "./deliveries.ts";
import { Delivery } from "./delivery.ts";
import type { Flusher } from "./flusher.ts";
import { type HomeReader, type Lookback, isShowable } from "./home.ts";
import type { Interest } from "./interest.ts";
import { Marks, authorOf } from "./marks.ts";
import { MergeAfter, type Source, sourcesAfter } from "./merge.ts";
import { topicsOf } from "./pages.ts";
import { concerns, passes, relationOf } from "./predicate.ts";
import { Ready } from "./ready.ts";
import { type Stream, awaitedBy } from "./stream.ts";
import type { Subscription } from "./subscription.ts";
import type { Tail } from "./tail.ts";
import type { Lane, Turns } from "./turns.ts";

/** Entries of the tail, or of the log, passed in one step. */
const maxScanned = 20_000;
/** Follows taken in at once: of a reader who has more they are linked, and planned with, in as many steps as it takes. */
const followsAtOnce = 2_000;
/** Entries that cost as much to look at as finding out whom a delete concerns. */
const comparedWeight = 50;
/** Follows kept from one step to the next of readers who catch up; 16 bytes each. */
const keptFollows = 4_194_304;
type Home = Stream & { kind: "home" };

export interface CatchUpParts {
  state: State;
  interest: Interest;
  deliveries: Deliveries;
  home: HomeReader;
  tail: Tail;
  flusher: Flusher;
  turns: Turns;
  /** Runs the callback once all up to the offset is durable. */
  whenDurable: (offset: Offset, callback: () => void) => void;
  /** A subscription's position fell below the floor while it caught up. */
  onTooOld: (subscription: Subscription) => void;
  /** Has a subscription whose user was dropped go on as that of who has the handle now. */
  renew: (subscription: Subscription) => void;
}

export class CatchUp {
  readonly #parts: CatchUpParts;
  readonly #marks = new Marks();
  readonly #ready = new Ready();
  readonly #taken = new RecentMap<UserNo, { follows: FollowList; applied: Offset }>(
    keptFollows / 2,
    ({ follows }) => follows.targets.length + 16,
  );
  /** The newest `live`, which a crowd that arrives at once shares. */
  #live: Delivery | undefined;
  readonly #lane: Lane<Subscription>;
  #delivered = 0;

  constructor(parts: CatchUpParts) {
    this.#parts = parts;
    this.#lane = parts.turns.lane((subscription) => this.#take(subscription));
  }

  /** Events handed to sessions by catch-up, since the start. */
  get delivered(): number {
    return this.#delivered;
  }

  /** Subscriptions that wait for their turn. */
  get waiting(): number {
    return this.#lane.waiting;
  }

  /** Gives the subscription its next turn. Call it when it begins, and when a session that had no room has room. */
  add(subscription: Subscription): void {
    if (subscription.isQueued) return;
    subscription.isQueued = true;
    this.#lane.add(subscription);
  }

  /** A live one goes on from before `entry`, after a look back. */
  lookBack(subscription: Subscription, stream: Home, entry: RepostEntry): void {
    subscription.await(this.#parts.home.lookback(stream, entry));
    this.add(subscription);
  }

  #take(subscription: Subscription): void {
    if (subscription.state === "catching up" && subscription.sink.askForRoom()) this.#step(subscription);
    else subscription.isQueued = false;
  }

  #step(subscription: Subscription): void {
    const { state, tail, flusher, whenDurable, onTooOld, renew } = this.#parts;
    const { stream } = subscription;
    state.refresh();
    renew(subscription);
    if (subscription.position < state.meta.floor) {
      onTooOld(subscription);
      return;
    }
    const applied = state.applied();
    const follows = stream.kind === "home" ? this.#shortList(stream.reader, applied) : undefined;
    if (stream.kind === "home" && this.#prepares(subscription, stream, follows)) {
      subscription.isQueued = false;
      this.add(subscription);
      return;
    }
    const head = tail.end;
    const page = new CatchUpPage(subscription, this.#ready);
    const before = subscription.position;
    this.#read(subscription, { head, follows }, page);
    this.#delivered += page.events;
    if (subscription.position >= head && subscription.round === undefined)
      this.#goLive(subscription, follows, page);
    else if (page.events === 0 && subscription.position > before)
      page.mark(markDelivery(state, "cursor", subscription.position));
    const frame = page.frame();
    if (frame !== undefined) {
      subscription.hold(); // nothing leaves before `release`
      subscription.hand(frame);
    }
    whenDurable(applied, () => {
      subscription.isQueued = false;
      flusher.inBulk(() => subscription.release());
      if (subscription.state === "catching up") this.add(subscription);
    });
  }

  #goLive(subscription: Subscription, follows: FollowList | undefined, page: CatchUpPage): void {
    if (subscription.stream.kind === "home") this.#taken.delete(subscription.stream.reader); // it is the last step
    const { state, interest } = this.#parts;
    const { position } = subscription;
    // Whose user is none yet is linked once they are one.
    if (awaitedBy(subscription.stream) === undefined)
      interest.attach(subscription, follows === undefined ? [] : followedAt(follows, position));
    subscription.state = "live";
    if (this.#live?.offset !== position) this.#live = markDelivery(state, "live", position);
    page.mark(this.#live);
  }

  /** Whom a reader follows, if that can be taken in at once. What was read for the step before holds while nothing is applied. */
  #shortList(reader: UserNo, applied: Offset): FollowList | undefined {
    const taken = this.#taken.get(reader);
    if (taken?.applied === applied) return taken.follows;
    const follows = this.#parts.state.follows.list(reader, 0, followsAtOnce + 1);
    if (follows.targets.length > followsAtOnce) return undefined;
    this.#taken.set(reader, { follows, applied });
    return follows;
  }

  /** What a home needs before its next page and gets in steps of its own. True when this step went into that. */
  #prepares(subscription: Subscription, stream: Home, follows: FollowList | undefined): boolean {
    if (subscription.linking !== undefined || (follows === undefined && subscription.node === 0)) {
      this.#link(subscription, stream);
      return true;
    }
    if (subscription.lookback?.isDone === false) {
      stepBack(subscription, subscription.lookback);
      return true;
    }
    if (follows !== undefined) subscription.plan = undefined; // they were very many, and are no more
    if (follows !== undefined || subscription.round !== undefined) return false;
    const { position } = subscription;
    if (position >= this.#parts.tail.start) return false;
    return !this.#plan(subscription, stream);
  }

  /** Links the next of very many authors. What changes meanwhile, fan-out tells the interest index: see there. */
  #link(subscription: Subscription, { reader }: Home): void {
    const { interest, state, tail } = this.#parts;
    interest.begin(subscription);
    const linking = subscription.linking!;
    const follows = state.follows.list(reader, linking.after, followsAtOnce);
    interest.link(subscription, followedAt(follows, tail.end));
    linking.after = follows.targets.at(-1) ?? linking.after;
    if (follows.targets.length < followsAtOnce) subscription.linking = undefined;
  }

  /** Goes on planning the merge of very many authors; begins it when that is done. */
  #plan(subscription: Subscription, { reader }: Home): boolean {
    const { state, tail } = this.#parts;
    const { position } = subscription;
    const plan = (subscription.plan ??= { sources: ownSources(reader, position), after: 0, upTo: tail.end });
    const follows = state.follows.list(reader, plan.after, followsAtOnce);
    for (const source of sourcesAfter(state, follows, position)) plan.sources.push(source);
    plan.after = follows.targets.at(-1) ?? plan.after;
    if (follows.targets.length === followsAtOnce) return false;
    subscription.plan = undefined;
    subscription.round = { merge: new MergeAfter(state, plan.sources, plan.upTo), upTo: plan.upTo };
    return true;
  }

  /** Reads the next page towards `head` and moves the position to the end of what it covers. */
  #read(
    subscription: Subscription,
    { head, follows }: { head: Offset; follows: FollowList | undefined },
    page: CatchUpPage,
  ): void {
    const { stream } = subscription;
    if (stream.kind === "home") this.#showAwaited(subscription, stream, page);
    const { position } = subscription;
    if (position >= head) return;
    if (stream.kind === "firehose") {
      this.#scanLog(subscription, head, page);
      return;
    }
    if (stream.kind === "home" && subscription.round === undefined && position >= this.#parts.tail.start) {
      if (follows === undefined) this.#marks.begin(stream.reader);
      else this.#marks.take(follows, stream.reader);
      this.#scanTail(subscription, { reader: stream.reader, head }, page);
      return;
    }
    subscription.round ??= {
      merge: new MergeAfter(this.#parts.state, this.#sources(subscription, follows), head),
      upTo: head,
    };
    this.#merge(subscription, subscription.round, page);
  }

  /** The entry for which a look back was made. */
  #showAwaited(subscription: Subscription, { reader }: Home, page: CatchUpPage): void {
    const { lookback } = subscription;
    if (lookback === undefined) return;
    subscription.lookback = undefined;
    subscription.position = lookback.at;
    const entry = this.#parts.state.entry(lookback.at);
    if (entry !== undefined && this.#isPushed(reader, entry)) this.#showEntry(subscription, entry, page);
  }

  #sources({ stream, position }: Subscription, follows: FollowList | undefined): Source[] {
    if (stream.kind === "firehose") return [];
    if (stream.kind !== "home") return topicsOf(stream).map((topic) => ({ topic, bound: position }));
    const sources = ownSources(stream.reader, position);
    return follows === undefined
      ? sources
      : sources.concat(sourcesAfter(this.#parts.state, follows, position));
  }

  #merge(subscription: Subscription, round: NonNullable<Subscription["round"]>, page: CatchUpPage): void {
    const { stream } = subscription;
    if (stream.kind === "thread" && subscription.position < stream.root && stream.root <= round.upTo) {
      this.#show(subscription, stream.root, page);
    }
    while (!page.isFull) {
      const offset = round.merge.next(page.budget);
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

  /** The newest entries, by author: those of users who follow, or are, the reader's are looked at more closely. */
  #scanTail(
    subscription: Subscription,
    { reader, head }: { reader: UserNo; head: Offset },
    page: CatchUpPage,
  ): void {
    const { tail } = this.#parts;
    const marks = this.#marks;
    const upTo = Math.min(head, subscription.position + maxScanned);
    for (;;) {
      const offset = tail.next(marks, subscription.position, upTo);
      subscription.position = Math.min(offset, upTo);
      if (offset > upTo) return;
      const key = tail.key(offset);
      if (!marks.knows(key)) {
        if (page.budget.lookups-- <= 0) {
          subscription.position = offset - 1;
          return;
        }
        const since = this.#parts.state.follows.since(reader, authorOf(key));
        marks.put(key, since ?? Number.NaN);
        if (since === undefined || since >= offset) continue;
      }
      const isPlain = tail.isPlain(offset);
      if (isPlain && page.addKept(offset)) subscription.note(offset);
      else this.#show(subscription, offset, page, isPlain);
      if (page.isFull) return;
    }
  }

  #scanLog(subscription: Subscription, head: Offset, page: CatchUpPage): void {
    const upTo = Math.min(head, subscription.position + maxScanned);
    for (const entry of this.#parts.state.entries(subscription.position, upTo)) {
      this.#showEntry(subscription, entry, page);
      if (page.isFull) return;
    }
    subscription.position = upTo;
  }

  #show(subscription: Subscription, offset: Offset, page: CatchUpPage, isPlain = false): void {
    const entry = this.#parts.state.entry(offset);
    subscription.position = offset;
    if (entry !== undefined) this.#showEntry(subscription, entry, page, isPlain);
  }

  /** Adds the entry's event if the stream shows it; the entry's topics are known to match, but for what is said below. */
  #showEntry(subscription: Subscription, entry: Entry, page: CatchUpPage, isPlain = false): void {
    const { state, home } = this.#parts;
    const { stream } = subscription;
    subscription.position = entry.offset;
    page.look();
    if (!isShowable(entry)) return;
    // Deletes of reposted posts are filed together, whoever they concern.
    if (entry.kind === "delete" && entry.reposted) {
      page.look(comparedWeight);
      if (!concerns(state, stream, entry)) return;
    }
    if (stream.kind === "home") {
      if (home.takesLookback(stream, entry, subscription)) {
        subscription.await(home.lookback(stream, entry));
        page.end();
        return;
      }
      if (!home.admit(stream, entry, subscription)) return;
    } else if (!passes(state, stream, entry)) return;
    let delivery = this.#parts.deliveries.of(entry);
    if (delivery === undefined) return;
    if (stream.kind === "mentions" && entry.kind === "post") {
      delivery = delivery.related(relationOf(state, stream.reader, entry.author));
    }
    page.add(delivery, isPlain);
  }
}

/** Takes the next step of a look back. */
function stepBack(subscription: Subscription, lookback: Lookback): void {
  const { value, done } = lookback.steps.next();
  if (done !== true) {
    lookback.work.renew();
    return;
  }
  subscription.recent.prime(value);
  lookback.isDone = true;
}

/** What every home has: the reader's own, and the deletes that are filed together. */
function ownSources(reader: UserNo, bound: Offset): Source[] {
  return [
    { topic: retractedTopic, bound },
    { topic: reader, bound },
  ];
}

/** Those of `follows` that began at `head` or before. Fan-out hears of later ones in their turn, after what came before them. */
function followedAt({ targets, since }: FollowList, head: Offset): UserNo[] {
  return targets.filter((_, i) => since[i]! <= head);
}

/** The event that tells a reader's position when no entry does. */
export function markDelivery(state: State, event: "live" | "cursor", position: Offset): Delivery {
  return new Delivery(position, { event, cursor: state.positions.cursor(position) }, { before: position });
}
