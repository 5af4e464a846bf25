/* Publish keys: what makes a retried publish safe.
 *
 *   publishKeys          key UTF-8 | author u32       ->  offset u48, of the post it published
 *   publishKeysByChunk   offset >> 8, u48             ->  at u48, of the chunk's last key | (length u16 | key | author u32)…
 *
 * The key comes before its author, so that keys which begin alike lie together, whoever made them. Ours begin with the
 * time: those of one transaction fall on a few pages at the table's end, where a row for each author, or a random key,
 * would make LMDB write a page of 4 KiB for each post.
 *
 * Kept for 24 hours of the log's time at least, then removed by a trim, oldest first: that is what the second table is
 * for. It holds the keys of 256 offsets in one value, written once for a transaction, since one row for each key would
 * cost as much as all else of a post. What a chunk holds depends on its offsets alone, not on how commands were batched. */

import { type Offset, type UserNo, briefU48, readU48, u48Key } from "./bytes.ts";
import { type Tables, putIfNew } from "./environment.ts";

/** How long a key is honoured, in ms. */
export const publishKeyLifeMs = 24 * 3_600_000;
const chunkOffsets = 256;

/** An author's key, as both tables hold it. */
export interface PublishKey {
  /** length u16 | key | author u32 */
  readonly part: Buffer;
  readonly name: Buffer;
}

interface Chunk {
  number: number;
  at: number;
  parts: Buffer[];
}

export class PublishKeys {
  readonly #tables: Tables;
  /** What the transaction under way has added to, and not yet written. */
  #chunk: Chunk | undefined;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  find({ name }: PublishKey): Offset | undefined {
    const bytes = this.#tables.publishKeys.get(name);
    return bytes === undefined ? undefined : readU48(bytes, 0);
  }

  /** A transaction begins. */
  begin(): void {
    this.#chunk = undefined;
  }

  /** Makes the key that of the post at `offset`, unless it is another's already: then of which. Within a transaction. */
  claim({ name, part }: PublishKey, { offset, at }: { offset: Offset; at: number }): Offset | undefined {
    // Most keys are new: to write at once, and look only when that fails, walks down the tree once and not twice.
    if (!putIfNew(this.#tables.publishKeys, name, briefU48(offset))) return this.find({ name, part });
    const chunk = this.#chunkOf(Math.floor(offset / chunkOffsets));
    chunk.parts.push(part);
    chunk.at = at;
    return undefined;
  }

  /** Writes what `claim` has gathered. Within the same transaction. */
  end(): void {
    if (this.#chunk === undefined) return;
    const { number, at, parts } = this.#chunk;
    this.#tables.publishKeysByChunk.putSync(u48Key(number), Buffer.concat([u48Key(at), ...parts]));
    this.#chunk = undefined;
  }

  /** Whether all keys of the oldest chunk were put before the time `at`. */
  anyBefore(at: number): boolean {
    for (const { value } of this.#tables.publishKeysByChunk.getRange({ limit: 1 }))
      return readU48(value, 0) < at;
    return false;
  }

  /** Removes chunks of keys put before the time `at`, `most` keys or a little more. Within a transaction. */
  expire(at: number, most: number): void {
    this.end();
    let removed = 0;
    while (removed < most) {
      const oldest = this.#oldest();
      if (oldest === undefined || readU48(oldest.value, 0) >= at) return;
      for (const name of namesIn(oldest.value)) {
        this.#tables.publishKeys.removeSync(name);
        removed++;
      }
      this.#tables.publishKeysByChunk.removeSync(oldest.key);
    }
  }

  /** No key that the post at a smaller offset took is in force. Not within a transaction, but after `expire`. */
  firstInForce(): Offset {
    const oldest = this.#oldest();
    return oldest === undefined ? Number.POSITIVE_INFINITY : readU48(oldest.key, 0) * chunkOffsets;
  }

  /** It is `at`: those put later were put by a wrong clock, and are to expire as if they had been put now. Within a transaction. */
  setTimeBack(at: number): void {
    const { publishKeysByChunk } = this.#tables;
    const later: { key: Buffer; value: Buffer }[] = [];
    for (const { key, value } of publishKeysByChunk.getRange({ reverse: true })) {
      if (readU48(value, 0) <= at) break;
      later.push({ key: Buffer.from(key), value: Buffer.from(value) });
    }
    for (const { key, value } of later)
      publishKeysByChunk.putSync(key, Buffer.concat([u48Key(at), value.subarray(6)]));
  }

  #oldest(): { key: Buffer; value: Buffer } | undefined {
    for (const { key, value } of this.#tables.publishKeysByChunk.getRange({ limit: 1 })) {
      return { key: Buffer.from(key), value: Buffer.from(value) };
    }
    return undefined;
  }

  #chunkOf(number: number): Chunk {
    if (this.#chunk?.number === number) return this.#chunk;
    this.end();
    const written = this.#tables.publishKeysByChunk.get(u48Key(number));
    const parts = written === undefined ? [] : [Buffer.from(written.subarray(6))];
    return (this.#chunk = { number, at: 0, parts });
  }
}

function* namesIn(value: Buffer): Generator<Buffer> {
  for (let at = 6; at < value.length;) {
    const length = value.readUInt16BE(at);
    yield value.subarray(at + 2, at + 2 + length);
    at += 2 + length;
  }
}

export function publishKey(author: UserNo, key: string): PublishKey {
  const length = Buffer.byteLength(key);
  const part = Buffer.allocUnsafe(2 + length + 4);
  part.writeUInt16BE(length + 4, 0);
  part.write(key, 2);
  part.writeUInt32BE(author, 2 + length);
  return { part, name: part.subarray(2) };
}
