/* FanOut: durable entries to live subscriptions, in offset order, in slices.
 *
 *   entries ──> queue ──> for each entry: its nodes ──> for each node: its subscriptions ──> outboxes ──> flush
 *                              a slice ends after `sliceMs`; the event loop turns; the next slice goes on where it stood
 *
 * Posts of one author that wait one behind the other are walked together, since they meet the same subscriptions.
 *
 * While an entry's subscribers are being walked, sessions come and go between slices. A node's list is walked from its end:
 * a subscription cut from it is replaced by the list's last, which has been walked already or is the one to be walked
 * next, and one added goes to the end. So none that is there throughout is missed; one met twice is known by its position. */

import type { Relation } from "../../protocol/index.ts";
import type {
  DeleteEntry,
  Entry,
  ForgottenEntry,
  Offset,
  RepostEntry,
  State,
  UserNo,
} from "../state/index.ts";
import type { Deliveries } from "./deliveries.ts";
import type { Delivery } from "./delivery.ts";
import type { Flusher } from "./flusher.ts";
import { type HomeReader, isShowable } from "./home.ts";
import type { Interest } from "./interest.ts";
import type { Node } from "./links.ts";
import { passes, relationOf } from "./predicate.ts";
import type { Stream } from "./stream.ts";
import type { Subscription } from "./subscription.ts";

/** How long a slice of fan-out may hold the event loop, in ms. */
const sliceMs = 5;
/** Hand-overs between two looks at the clock. */
const stride = 256;
/** Posts of one author walked together. */
const maxTogether = 64;
/** Subscriptions met from which on an entry is bulk: fewer are written to in about 2 ms. */
const bulkDegree = 512;
/** Reposters of a deleted post looked up at once. */
const maxReposters = 1_000;
/** Entries walked and still in the queue's array. */
const maxWalked = 4_096;

export interface FanOutParts {
  state: State;
  interest: Interest;
  deliveries: Deliveries;
  flusher: Flusher;
  home: HomeReader;
  /** Whether the entry is shown takes a look back of many steps; the subscription is to come to it by catch-up. */
  onLookback: (subscription: Subscription, stream: Stream & { kind: "home" }, entry: RepostEntry) => void;
  /** Called in the turn of an entry that tells of users who were dropped. */
  onForgotten: (entry: ForgottenEntry) => void;
}

/** Entries that are being handed to the subscriptions of some nodes, and how far that is. */
interface Walk {
  entries: Entry[];
  /** Of each entry; made when first needed. */
  deliveries: (Delivery | undefined)[];
  nodes: Node[];
  /** The place in the last of the nodes. */
  index: number;
  /** It meets so many subscriptions that what is for fewer is written first. */
  isBulk: boolean;
  /** Of the delete of a post: the reposter up to whom their nodes were walked; undefined when there are no more. */
  reposters: UserNo | undefined;
}

export class FanOut {
  readonly #parts: FanOutParts;
  #queue: Entry[] = [];
  #next = 0;
  #walk: Walk | undefined;
  #running = false;
  #delivered = 0;
  #reached: Offset;
  #end: Offset;
  #idle: (() => void)[] = [];

  constructor(parts: FanOutParts, head: Offset) {
    this.#parts = parts;
    this.#reached = head;
    this.#end = head;
  }

  /** Events handed to sessions live, since the start. */
  get delivered(): number {
    return this.#delivered;
  }

  /** Entries that wait for their turn. */
  get pending(): number {
    return this.#queue.length - this.#next;
  }

  /** All live subscriptions have been handed what concerns them up to this offset. */
  get reached(): Offset {
    return this.#walk === undefined && !this.#running ? this.#end : this.#reached;
  }

  /** Takes durable entries, in offset order. Work begins at once and goes on by itself. */
  publish(entries: Entry[], durable: Offset): void {
    this.#end = durable;
    if (entries.length === 0) return;
    this.#queue.push(...entries);
    if (!this.#running) this.#slice();
  }

  /** Gives back topics that lost their last reader, also while nothing is published. */
  sweep(): void {
    if (this.#walk === undefined) this.#parts.interest.sweep();
  }

  /** Settles when all that was published so far has been handed over. */
  async settled(): Promise<void> {
    if (this.#running) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #slice(): void {
    this.#running = true;
    const { flusher, state } = this.#parts;
    state.refresh(); // what is kept of users who were dropped meanwhile is let go
    const end = performance.now() + sliceMs;
    let more = true;
    while (more && performance.now() < end) {
      const walk = (this.#walk ??= this.#begin());
      if (walk?.isBulk !== true) more = this.#stride(walk);
      else if (flusher.isBehind) break;
      else flusher.inBulk(() => this.#stride(walk));
      // With nothing behind that they could gather, those just handed something are written while they are at hand.
      if (this.pending === 0) flusher.flush();
    }
    if (more) {
      setImmediate(() => this.#slice()); // between slices the flusher writes what they have queued
      return;
    }
    this.#parts.flusher.flush();
    this.#running = false;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Hands a walk's entries to the next subscriptions, or ends it. False when there is nothing to walk. */
  #stride(walk: Walk | undefined): boolean {
    if (walk === undefined) return false;
    const { interest } = this.#parts;
    const { entries, nodes } = walk;
    const node = nodes.at(-1);
    if (node === undefined) {
      if (walk.reposters === undefined) this.#walk = undefined;
      else this.#goOnToReposters(walk, walk.reposters);
      return true;
    }
    // The list may have become shorter since the last slice.
    let index = Math.min(walk.index, interest.degree(node));
    // A repost may have a reader's latest entries looked up, which takes a slice's time by itself.
    const most = entries[0]!.kind === "repost" ? 1 : Math.ceil(stride / entries.length);
    const stop = Math.max(0, index - most);
    while (index > stop) {
      index--;
      const subscription = interest.subscription(node, index);
      for (let i = 0; i < entries.length; i++) {
        const { offset } = entries[i]!;
        if (subscription.position >= offset || subscription.state !== "live") continue;
        subscription.position = offset; // also when it is not shown: met again, it is not noted again
        this.#offer(subscription, walk, i);
      }
    }
    walk.index = index;
    if (index === 0) {
      nodes.pop();
      walk.index = Number.MAX_SAFE_INTEGER;
    }
    return true;
  }

  /** The delete of a whale's post concerns the followers of perhaps 100,000 who had reposted it. */
  #goOnToReposters(walk: Walk, after: UserNo): void {
    const { interest, state } = this.#parts;
    const { nodes, next } = interest.repostersOf(state, walk.entries[0] as DeleteEntry, after, maxReposters);
    walk.nodes = nodes;
    walk.reposters = next;
  }

  #begin(): Walk | undefined {
    const { interest, flusher, onForgotten } = this.#parts;
    interest.sweep();
    const entry = this.#take();
    if (entry === undefined) return undefined;
    this.#reached = entry.offset - 1;
    if (entry.kind === "follow") interest.follow(entry.author, entry.target);
    else if (entry.kind === "unfollow") interest.unfollow(entry.author, entry.target);
    else if (entry.kind === "forgotten") onForgotten(entry);
    const nodes = interest.nodesOf(entry);
    const entries = [entry, ...this.#takeAlike(entry, nodes)];
    const isBulk = nodes.reduce((sum, node) => sum + interest.degree(node), 0) >= bulkDegree;
    if (isBulk) flusher.gather(entries.reduce((sum, each) => sum + aboutBytes(each), 0));
    return {
      entries,
      deliveries: Array(entries.length),
      nodes,
      index: Number.MAX_SAFE_INTEGER,
      isBulk,
      reposters: entry.kind === "delete" && entry.reposted ? 0 : undefined,
    };
  }

  /** Takes the next entry from the queue. */
  #take(): Entry | undefined {
    if (this.#next === this.#queue.length || this.#next >= maxWalked) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
    const entry = this.#queue[this.#next];
    if (entry !== undefined) this.#next++;
    return entry;
  }

  /** Takes the posts behind `first` that go to just the same subscriptions: a busy author's are walked together. */
  #takeAlike(first: Entry, nodes: Node[]): Entry[] {
    const alike: Entry[] = [];
    if (first.kind !== "post" || nodes.length !== 1) return alike;
    const { interest } = this.#parts;
    while (alike.length < maxTogether - 1) {
      const entry = this.#queue[this.#next];
      if (entry?.kind !== "post" || entry.author !== first.author) break;
      const others = interest.nodesOf(entry);
      if (others.length !== 1 || others[0] !== nodes[0]) break;
      alike.push(entry);
      this.#next++;
    }
    return alike;
  }

  /** Hands the walk's entry number `index` over if the subscription's stream shows it. */
  #offer(subscription: Subscription, walk: Walk, index: number): void {
    const entry = walk.entries[index]!;
    let relation: Relation | undefined;
    // By far the most are posts that are no replies, for homes: nothing more is to be asked.
    if (entry.kind === "post" && entry.reply === undefined && subscription.showsAllPosts) {
      subscription.note(entry.offset);
    } else if (subscription.stream.kind === "home") {
      const { home, onLookback } = this.#parts;
      const { stream } = subscription;
      if (!isShowable(entry)) return;
      if (home.takesLookback(stream, entry, subscription)) {
        onLookback(subscription, stream, entry);
        return;
      }
      if (!home.admit(stream, entry, subscription)) return;
    } else if (subscription.stream.kind === "mentions") {
      const { state } = this.#parts;
      if (!passes(state, subscription.stream, entry)) return;
      if (entry.kind === "post") relation = relationOf(state, subscription.stream.reader, entry.author);
    }
    const delivery = (walk.deliveries[index] ??= this.#parts.deliveries.of(entry));
    if (delivery === undefined) return; // deleted meanwhile
    subscription.deliver(relation === undefined ? delivery : delivery.related(relation));
    this.#delivered++;
  }
}

/** Of the entry's frame, for reckoning how much gathers. */
function aboutBytes(entry: Entry): number {
  return 150 + (entry.kind === "post" ? entry.packed.length : 300);
}
