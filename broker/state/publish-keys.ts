/* Publish keys: what makes a retried publish safe.
 *
 *   publishKeys        author u32 | key UTF-8            ->  offset u48, of the post it published
 *   publishKeysByTime  at u48 | author u32 | key UTF-8   ->  empty
 *
 * Kept for 24 hours of the log's time at least, then removed by a trim. */

import { type Offset, type UserNo, empty, readU48, u48Key } from "./bytes.ts";
import type { Tables } from "./environment.ts";

/** How long a key is honoured, in ms. */
export const publishKeyLifeMs = 24 * 3_600_000;

export class PublishKeys {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  find(author: UserNo, key: string): Offset | undefined {
    const bytes = this.#tables.publishKeys.get(keyOf(author, key));
    return bytes === undefined ? undefined : readU48(bytes, 0);
  }

  /** Within a transaction. */
  put(author: UserNo, key: string, offset: Offset, at: number): void {
    const name = keyOf(author, key);
    this.#tables.publishKeys.putSync(name, u48Key(offset));
    this.#tables.publishKeysByTime.putSync(Buffer.concat([u48Key(at), name]), empty);
  }

  /** Whether a key was put before the time `at`. */
  anyBefore(at: number): boolean {
    for (const _ of this.#tables.publishKeysByTime.getKeys({ end: u48Key(Math.max(at, 0)), limit: 1 }))
      return true;
    return false;
  }

  /** Removes up to `most` keys put before the time `at`. Within a transaction. */
  expire(at: number, most: number): void {
    const range = { end: u48Key(Math.max(at, 0)), limit: most };
    for (const byTime of Array.from(this.#tables.publishKeysByTime.getKeys(range))) {
      const bytes = Buffer.from(byTime);
      this.#tables.publishKeysByTime.removeSync(bytes);
      this.#tables.publishKeys.removeSync(bytes.subarray(6));
    }
  }
}

function keyOf(author: UserNo, key: string): Buffer {
  const name = Buffer.from(key);
  const bytes = Buffer.allocUnsafe(4 + name.length);
  bytes.writeUInt32BE(author, 0);
  name.copy(bytes, 4);
  return bytes;
}
