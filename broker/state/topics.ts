/* Topics: the inverted index of what each entry concerns.
 *
 *   topics   1 | user u32  | offset u48        posts, reposts and deletes by an author
 *            2 | user u32  | offset u48        posts that mention a user (and their deletes)
 *            3 | tag, folded, UTF-8 | 0 | offset u48
 *            4 | root u48  | offset u48        replies of a conversation (its root is found by its own offset)
 *            5 | offset u48                    deletes of posts that others had reposted
 *            -> empty
 *
 * A delete of a post with many reposts would need a posting for each reposter; instead it has the one of kind 5, which
 * every reader of reposts merges and decides by (original, reposter). */

import { fold } from "../../protocol/index.ts";
import { type Offset, type UserNo, afterPrefix, empty } from "./bytes.ts";
import type { Table } from "./environment.ts";

/** A topic, as the start of its keys. */
export type TopicPrefix = Buffer;

export function authorTopic(user: UserNo): TopicPrefix {
  const prefix = Buffer.allocUnsafe(5);
  prefix[0] = 1;
  prefix.writeUInt32BE(user, 1);
  return prefix;
}

export function mentionTopic(user: UserNo): TopicPrefix {
  const prefix = Buffer.allocUnsafe(5);
  prefix[0] = 2;
  prefix.writeUInt32BE(user, 1);
  return prefix;
}

export function tagTopic(tag: string): TopicPrefix {
  return Buffer.from(`\u0003${fold(tag)}\u0000`);
}

export function threadTopic(root: Offset): TopicPrefix {
  const prefix = Buffer.allocUnsafe(7);
  prefix[0] = 4;
  prefix.writeUIntBE(root, 1, 6);
  return prefix;
}

export const retractedTopic: TopicPrefix = Buffer.from([5]);

export class Topics {
  readonly #table: Table;
  /** By user number: no offset of the author is greater; 0 while unknown. An upper bound, since a trim does not lower it. */
  #lastByAuthor = new Float64Array(1024);

  constructor(table: Table) {
    this.#table = table;
  }

  /** Files `offset` under `topic`. Within a transaction. */
  put(topic: TopicPrefix, offset: Offset): void {
    this.#table.putSync(keyOf(topic, offset), empty);
    if (topic[0] === 1) this.#noteAuthor(topic.readUInt32BE(1), offset);
  }

  /** Within a transaction. */
  remove(topic: TopicPrefix, offset: Offset): void {
    this.#table.removeSync(keyOf(topic, offset));
  }

  /** The offsets of `topic` in (`after`, `upTo`], ascending, `most` at most. */
  after(topic: TopicPrefix, after: Offset, upTo: Offset, most: number): Offset[] {
    const offsets: Offset[] = [];
    if (after >= upTo) return offsets;
    const range = { start: keyOf(topic, after + 1), end: keyOf(topic, upTo + 1), limit: most };
    for (const key of this.#table.getKeys(range)) offsets.push(offsetOf(key));
    return offsets;
  }

  /** The offsets of `topic` in [1, `before`), descending, `most` at most. */
  before(topic: TopicPrefix, before: Offset, most: number): Offset[] {
    const offsets: Offset[] = [];
    if (before <= 1) return offsets;
    const range = { start: keyOf(topic, before - 1), end: topic, reverse: true, limit: most };
    for (const key of this.#table.getKeys(range)) offsets.push(offsetOf(key));
    return offsets;
  }

  /** No entry by `author` has a greater offset. Costs an LMDB read once for each author, none from then on. */
  lastByAuthor(author: UserNo): Offset {
    const known = author < this.#lastByAuthor.length ? this.#lastByAuthor[author]! : 0;
    if (known !== 0) return known < 0 ? 0 : known;
    const topic = authorTopic(author);
    const end = afterPrefix(topic);
    let last = -1; // remembers «none», which 0 would not
    for (const key of this.#table.getKeys({ start: end, end: topic, reverse: true, limit: 1 }))
      last = offsetOf(key);
    this.#noteAuthor(author, last);
    return Math.max(last, 0);
  }

  #noteAuthor(author: UserNo, offset: Offset): void {
    if (author >= this.#lastByAuthor.length) {
      const larger = new Float64Array(Math.max(author + 1, this.#lastByAuthor.length * 2));
      larger.set(this.#lastByAuthor);
      this.#lastByAuthor = larger;
    }
    this.#lastByAuthor[author] = offset;
  }
}

function keyOf(topic: TopicPrefix, offset: Offset): Buffer {
  const key = Buffer.allocUnsafe(topic.length + 6);
  topic.copy(key, 0);
  key.writeUIntBE(offset, topic.length, 6);
  return key;
}

function offsetOf(key: Uint8Array): Offset {
  const end = key.length;
  const high = key[end - 6]! * 256 + key[end - 5]!;
  const low = ((key[end - 4]! << 24) | (key[end - 3]! << 16) | (key[end - 2]! << 8) | key[end - 1]!) >>> 0;
  return high * 2 ** 32 + low;
}
