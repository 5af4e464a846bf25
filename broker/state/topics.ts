/* Topics: the inverted index of what each entry concerns.
 *
 *   topicHeads   topic               ->  offset u48 …   the newest, 1 to 31, ascending
 *   topics       topic | last u48    ->  offset u48 …   those before, 1 to 32 together, `last` among them
 *
 *   topic   1 | user u32                posts, reposts and deletes by an author
 *           2 | user u32                posts that mention a user (and their deletes)
 *           3 | tag, folded, UTF-8 | 0
 *           4 | root u48                replies of a conversation (its root is found by its own offset)
 *           5                           deletes of posts that others had reposted
 *
 * An offset is filed in its topic's head, and a head that is full moves to `topics` as one row. So what is written all the
 * time is small and lies together: a batch of posts by a thousand authors dirties some 40 pages. A row for each offset
 * dirtied one for each post, and these pages were most of what a commit wrote.
 *
 * A delete of a post with many reposts would need a posting for each reposter; instead it has the one of kind 5, which
 * every reader of reposts merges and decides by (original, reposter). */

import { fold } from "../../protocol/index.ts";
import { type Offset, type UserNo, afterPrefix, maxOffset, readU48, writeU48 } from "./bytes.ts";
import type { Table, Tables } from "./environment.ts";

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

/** Offsets in a full row. */
const rowOffsets = 32;
const offsetBytes = 6;

export class Topics {
  readonly #heads: Table;
  readonly #rows: Table;
  /** By user number: no offset of the author is greater; 0 while unknown. An upper bound, since a trim does not lower it. */
  #lastByAuthor = new Float64Array(1024);

  constructor({ topicHeads, topics }: Tables) {
    this.#heads = topicHeads;
    this.#rows = topics;
  }

  /** Files `offset`, which is greater than all that `topic` has. Within a transaction. */
  put(topic: TopicPrefix, offset: Offset): void {
    const head = this.#heads.get(topic);
    const filed = head === undefined ? 0 : head.length;
    const bytes = Buffer.allocUnsafe(filed + offsetBytes);
    if (head !== undefined) head.copy(bytes);
    writeU48(bytes, filed, offset);
    if (bytes.length < rowOffsets * offsetBytes) this.#heads.putSync(topic, bytes);
    else {
      this.#rows.putSync(keyOf(topic, offset), bytes);
      this.#heads.removeSync(topic);
    }
    if (topic[0] === 1) this.#noteAuthor(topic.readUInt32BE(1), offset);
  }

  /** Within a transaction. */
  remove(topic: TopicPrefix, offset: Offset): void {
    const head = this.#heads.get(topic);
    if (head !== undefined && readU48(head, 0) <= offset) {
      const rest = without(head, offset);
      if (rest.length > 0) this.#heads.putSync(topic, rest);
      else this.#heads.removeSync(topic);
      return;
    }
    const row = this.#rowAt(topic, offset);
    if (row === undefined) return;
    const rest = without(row, offset);
    // The row is named by its last offset, which may be the one that goes.
    const last = lastOf(row);
    if (rest.length === 0 || lastOf(rest) !== last) this.#rows.removeSync(keyOf(topic, last));
    if (rest.length > 0) this.#rows.putSync(keyOf(topic, lastOf(rest)), rest);
  }

  /** The offsets of `topic` in (`after`, `upTo`], ascending, `most` at most. */
  after(topic: TopicPrefix, after: Offset, upTo: Offset, most: number): Offset[] {
    const offsets: Offset[] = [];
    if (after >= upTo) return offsets;
    const head = this.#heads.get(topic);
    // A head that begins by then is all there is to read: what the rows have comes before it.
    if (head === undefined || readU48(head, 0) > after + 1) {
      for (const { value } of this.#rows.getRange(this.#rowsFrom(topic, after + 1))) {
        if (takeAfter(value, after, upTo, most, offsets)) return offsets;
      }
    }
    if (head !== undefined) takeAfter(head, after, upTo, most, offsets);
    return offsets;
  }

  /** The offsets of `topic` in [1, `before`), descending, `most` at most. */
  before(topic: TopicPrefix, before: Offset, most: number): Offset[] {
    const offsets: Offset[] = [];
    if (before <= 1) return offsets;
    const head = this.#heads.get(topic);
    if (head !== undefined && takeBefore(head, before, most, offsets)) return offsets;
    // The row that reaches up to `before` or beyond comes first, then those that end before it.
    const row = this.#rowAt(topic, before);
    if (row !== undefined && takeBefore(row, before, most, offsets)) return offsets;
    const range = { start: keyOf(topic, before - 1), end: topic, reverse: true };
    for (const { value } of this.#rows.getRange(range)) {
      if (takeBefore(value, before, most, offsets)) break;
    }
    return offsets;
  }

  /** Whether nothing is filed in `topic`. */
  isEmpty(topic: TopicPrefix): boolean {
    if (this.#heads.get(topic) !== undefined) return false;
    for (const _ of this.#rows.getKeys({ ...this.#rowsFrom(topic, 0), limit: 1 })) return false;
    return true;
  }

  /** All that is filed, topic by topic, as the tables have it: for checks of the whole store. */
  *postings(): Generator<{ topic: TopicPrefix; offsets: Offset[] }> {
    for (const { key, value } of this.#rows.getRange({})) {
      yield { topic: Buffer.from(key.subarray(0, -offsetBytes)), offsets: offsetsOf(value) };
    }
    for (const { key, value } of this.#heads.getRange({})) {
      yield { topic: Buffer.from(key), offsets: offsetsOf(value) };
    }
  }

  /** No entry by `author` has a greater offset. Costs an LMDB read once for each author, none from then on. */
  lastByAuthor(author: UserNo): Offset {
    const known = author < this.#lastByAuthor.length ? this.#lastByAuthor[author]! : 0;
    if (known !== 0) return known < 0 ? 0 : known;
    const last = this.before(authorTopic(author), maxOffset, 1)[0] ?? -1; // remembers «none», which 0 would not
    this.#noteAuthor(author, last);
    return Math.max(last, 0);
  }

  /** Another process has filed an entry by `author` at `offset`. Keeps the bound where it is known; elsewhere it is read when needed. */
  note(author: UserNo, offset: Offset): void {
    const known = author < this.#lastByAuthor.length ? this.#lastByAuthor[author]! : 0;
    if (known !== 0 && known < offset) this.#lastByAuthor[author] = offset;
  }

  /** Where the rows are that have an offset of `first` or greater. */
  #rowsFrom(topic: TopicPrefix, first: Offset): { start: Buffer; end: Buffer } {
    return { start: keyOf(topic, first), end: afterPrefix(topic) };
  }

  /** The first row that has an offset of `first` or greater. */
  #rowAt(topic: TopicPrefix, first: Offset): Buffer | undefined {
    for (const { value } of this.#rows.getRange({ ...this.#rowsFrom(topic, first), limit: 1 })) {
      return Buffer.from(value);
    }
    return undefined;
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
  const key = Buffer.allocUnsafe(topic.length + offsetBytes);
  topic.copy(key, 0);
  writeU48(key, topic.length, offset);
  return key;
}

/** Adds those of a row's offsets that are in (`after`, `upTo`]. Whether no later row is needed. */
function takeAfter(row: Buffer, after: Offset, upTo: Offset, most: number, taken: Offset[]): boolean {
  for (let at = 0; at < row.length; at += offsetBytes) {
    const offset = readU48(row, at);
    if (offset > upTo) return true;
    if (offset > after) taken.push(offset);
    if (taken.length >= most) return true;
  }
  return false;
}

/** Adds those of a row's offsets that are below `before`, the greatest first. Whether there are `most` now. */
function takeBefore(row: Buffer, before: Offset, most: number, taken: Offset[]): boolean {
  for (let at = row.length - offsetBytes; at >= 0; at -= offsetBytes) {
    const offset = readU48(row, at);
    if (offset >= before) continue;
    taken.push(offset);
    if (taken.length >= most) return true;
  }
  return false;
}

function without(row: Buffer, offset: Offset): Buffer {
  for (let at = 0; at < row.length; at += offsetBytes) {
    if (readU48(row, at) === offset)
      return Buffer.concat([row.subarray(0, at), row.subarray(at + offsetBytes)]);
  }
  return Buffer.from(row);
}

function lastOf(row: Buffer): Offset {
  return readU48(row, row.length - offsetBytes);
}

function offsetsOf(row: Buffer): Offset[] {
  return Array.from({ length: row.length / offsetBytes }, (_, i) => readU48(row, i * offsetBytes));
}
