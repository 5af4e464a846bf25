/* Reposts: who reposted what.
 *
 *   reposts   original u48 | reposter u32  ->  repost u48, the offset of the repost
 *
 * A user reposts a post once; the same again is answered with the first. Kept after the original is deleted, since its
 * delete concerns the reposters' followers; a trim of the repost removes it. */

import { type Offset, type UserNo, afterPrefix, readU48, u48Key } from "./bytes.ts";
import type { Table } from "./environment.ts";

export class Reposts {
  readonly #table: Table;

  constructor(table: Table) {
    this.#table = table;
  }

  /** The offset of `reposter`'s repost of `original`. */
  find(original: Offset, reposter: UserNo): Offset | undefined {
    const bytes = this.#table.get(keyOf(original, reposter));
    return bytes === undefined ? undefined : readU48(bytes, 0);
  }

  /** Within a transaction. */
  put(original: Offset, reposter: UserNo, repost: Offset): void {
    this.#table.putSync(keyOf(original, reposter), u48Key(repost));
  }

  /** Within a transaction. */
  remove(original: Offset, reposter: UserNo): void {
    this.#table.removeSync(keyOf(original, reposter));
  }

  /** Whether anyone reposted `original`. */
  any(original: Offset): boolean {
    const start = u48Key(original);
    for (const _ of this.#table.getKeys({ start, end: afterPrefix(start), limit: 1 })) return true;
    return false;
  }

  /** Whether `original` was reposted before the offset `before`. Looks at `most` reposters, and says yes when there are more. */
  anyBefore(original: Offset, before: Offset, most: number): boolean {
    const start = u48Key(original);
    let seen = 0;
    for (const { value } of this.#table.getRange({ start, end: afterPrefix(start), limit: most + 1 })) {
      if (readU48(value, 0) < before || ++seen > most) return true;
    }
    return false;
  }

  /** All who reposted `original`. */
  *reposters(original: Offset): Generator<UserNo> {
    const start = u48Key(original);
    for (const key of this.#table.getKeys({ start, end: afterPrefix(start), snapshot: false })) {
      yield ((key[6]! << 24) | (key[7]! << 16) | (key[8]! << 8) | key[9]!) >>> 0;
    }
  }
}

function keyOf(original: Offset, reposter: UserNo): Buffer {
  const key = Buffer.allocUnsafe(10);
  key.writeUIntBE(original, 0, 6);
  key.writeUInt32BE(reposter, 6);
  return key;
}
