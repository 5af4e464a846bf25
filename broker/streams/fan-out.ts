/* FanOut: durable entries to live subscriptions, in offset order, in slices.
 *
 *   entries ──> queue ──> for each entry: its nodes ──> for each node: its subscriptions ──> outboxes ──> flush
 *                              a slice ends after `sliceMs`; the event loop turns; the next slice goes on where it stood
 *
 * While an entry's subscribers are being walked, sessions come and go between slices. A node's list is walked from its end:
 * a subscription cut from it is replaced by the list's last, which has been walked already or is the one to be walked
 * next, and one added goes to the end. So none that is there throughout is missed; one met twice is known by its position. */

import type { Relation } from "../../protocol/index.ts";
import type { DeleteEntry, Entry, Offset, PostEntry, RepostEntry, State } from "../state/index.ts";
import type { Deliveries } from "./deliveries.ts";
import type { Delivery } from "./delivery.ts";
import type { Flusher } from "./flusher.ts";
import type { HomeReader } from "./home.ts";
import type { Interest } from "./interest.ts";
import type { Node } from "./links.ts";
import { passes, relationOf } from "./predicate.ts";
import type { Subscription } from "./subscription.ts";

/** How long a slice of fan-out may hold the event loop, in ms. */
const sliceMs = 5;
/** Subscriptions walked between two looks at the clock. */
const stride = 64;
/** Entries walked and still in the queue's array. */
const maxWalked = 4_096;

export interface FanOutParts {
  state: State;
  interest: Interest;
  deliveries: Deliveries;
  flusher: Flusher;
  home: HomeReader;
}

/** The entry being walked: its delivery (made when first needed), the nodes left, and the place in the last of them. */
interface Walk {
  entry: Entry;
  nodes: Node[];
  index: number;
  delivery: Delivery | undefined;
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
    const end = performance.now() + sliceMs;
    let more = true;
    while (more && performance.now() < end) more = this.#stride();
    if (more) {
      setImmediate(() => this.#slice()); // between slices the flusher writes what they have queued
      return;
    }
    this.#parts.flusher.flush();
    this.#running = false;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Begins an entry, walks on by `stride` subscriptions, or ends it. False when there is nothing left. */
  #stride(): boolean {
    const walk = this.#walk ?? this.#begin();
    if (walk === undefined) return false;
    const { interest } = this.#parts;
    const node = walk.nodes.at(-1);
    if (node === undefined) {
      this.#walk = undefined;
      return true;
    }
    // The list may have become shorter since the last slice.
    let index = Math.min(walk.index, interest.degree(node));
    // A repost may have a reader's latest entries looked up, which takes a slice's time by itself.
    const stop = Math.max(0, index - (walk.entry.kind === "repost" ? 1 : stride));
    while (index > stop) {
      index--;
      const subscription = interest.subscription(node, index);
      if (subscription.position >= walk.entry.offset || subscription.state !== "live") continue;
      subscription.position = walk.entry.offset; // also when it is not shown: met again, it is not noted again
      this.#offer(subscription, walk);
    }
    walk.index = index;
    if (index === 0) {
      walk.nodes.pop();
      walk.index = Number.MAX_SAFE_INTEGER;
    }
    return true;
  }

  #begin(): Walk | undefined {
    const { interest, state } = this.#parts;
    interest.sweep();
    if (this.#next === this.#queue.length || this.#next >= maxWalked) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
    const entry = this.#queue[this.#next];
    if (entry === undefined) return undefined;
    this.#next++;
    this.#reached = entry.offset - 1;
    if (entry.kind === "follow") interest.follow(entry.author, entry.target);
    else if (entry.kind === "unfollow") interest.unfollow(entry.author, entry.target);
    const nodes = interest.nodesOf(state, entry);
    return (this.#walk = { entry, nodes, index: Number.MAX_SAFE_INTEGER, delivery: undefined });
  }

  #offer(subscription: Subscription, walk: Walk): void {
    const { entry } = walk;
    let relation: Relation | undefined;
    switch (subscription.stream.kind) {
      case "home":
        if (!this.#showsInHome(subscription, entry as PostEntry | RepostEntry | DeleteEntry)) return;
        break;
      case "mentions":
        if (!passes(this.#parts.state, subscription.stream, entry)) return;
        if (entry.kind === "post")
          relation = relationOf(this.#parts.state, subscription.stream.reader, entry.author);
        break;
      default:
    }
    walk.delivery ??= this.#parts.deliveries.of(entry);
    if (walk.delivery === undefined) return; // deleted meanwhile
    subscription.deliver(relation === undefined ? walk.delivery : walk.delivery.related(relation));
    this.#delivered++;
  }

  #showsInHome(subscription: Subscription, entry: PostEntry | RepostEntry | DeleteEntry): boolean {
    const { stream, recent } = subscription;
    if (entry.kind === "post" && entry.reply === undefined) {
      recent.note(entry.offset); // by far the most, and nothing more to ask
      return true;
    }
    return this.#parts.home.admit(stream, entry, recent);
  }
}
