/* Deliveries: entries as events, with handles and ids in place of numbers and offsets.
 *
 * The latest are kept, so that a thousand readers that catch up over the same entries share their bytes. What is kept is
 * never asked whether it still holds: a caller reads the entry first, and a deleted one is not described. */

import type { Post, StreamItem } from "../../protocol/index.ts";
import {
  type Entry,
  type Offset,
  type PostEntry,
  RecentMap,
  type RepostEntry,
  type State,
  unpackContent,
} from "../state/index.ts";
import { Delivery } from "./delivery.ts";

/** Deliveries kept, in bytes: about 60,000 of posts of 200. */
const keptBytes = 134_217_728;
/** A delivery and its event besides what is encoded of it, about. */
const deliveryBytes = 1_000;

export class Deliveries {
  readonly #state: State;
  readonly #kept = new RecentMap<Offset, Delivery>(
    keptBytes / 2,
    (delivery) => deliveryBytes + delivery.bytes,
  );
  readonly #onBytes = (bytes: number): void => this.#kept.grow(bytes);

  constructor(state: State) {
    this.#state = state;
  }

  /** The delivery of an entry; undefined for one that is not shown (any more). */
  of(entry: Entry): Delivery | undefined {
    switch (entry.kind) {
      case "post":
        return entry.deleted ? undefined : this.#keep(entry, () => this.#post(entry));
      case "repost": {
        if (entry.deleted) return undefined;
        const original = this.#state.entry(entry.original);
        if (original?.kind !== "post" || original.deleted) return undefined;
        return this.#keep(entry, () => this.#repost(entry, original));
      }
      case "delete":
        return this.#keep(entry, () => ({
          event: "delete",
          cursor: this.#state.positions.cursor(entry.offset),
          id: this.#state.positions.id(entry.target),
        }));
      default:
        return undefined;
    }
  }

  /** A post as clients see it. */
  describe(entry: PostEntry): Post {
    const { positions, users } = this.#state;
    const content = unpackContent(entry.packed);
    const post: Post = {
      id: positions.id(entry.offset),
      author: users.handle(entry.author),
      text: content.text,
      mentions: content.mentions.map((user) => users.handle(user)),
      tags: content.tags,
      at: entry.at,
    };
    if (entry.reply !== undefined) {
      post.replyTo = positions.id(entry.reply.parent);
      post.thread = positions.id(entry.reply.root);
    }
    if (content.data !== undefined) post.data = content.data;
    return post;
  }

  #keep(entry: Entry, event: () => StreamItem): Delivery {
    const kept = this.#kept.get(entry.offset);
    if (kept !== undefined) return kept;
    const delivery = new Delivery(entry.offset, event(), { onBytes: this.#onBytes });
    this.#kept.set(entry.offset, delivery);
    return delivery;
  }

  #post(entry: PostEntry): StreamItem {
    return { event: "post", cursor: this.#state.positions.cursor(entry.offset), post: this.describe(entry) };
  }

  #repost(entry: RepostEntry, original: PostEntry): StreamItem {
    const { positions, users } = this.#state;
    return {
      event: "repost",
      cursor: positions.cursor(entry.offset),
      id: positions.id(entry.offset),
      by: users.handle(entry.author),
      at: entry.at,
      post: this.describe(original),
    };
  }
}
