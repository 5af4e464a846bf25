/* Reposts: who reposted what.
 *
 *   reposts   original u48 | reposter u32  ->  repost u48 | first u48 | withdrawn u8
 *
 * `repost` is the reposter's newest repost of the original, `first` their oldest. A user reposts a post once; the same again
 * is answered with the first, unless it was withdrawn (deleted). Kept after the original is deleted, since its delete
 * concerns the reposters' followers, and after the repost is withdrawn, since readers have seen it; a trim of the repost
 * removes it. */

import { type Offset, type UserNo, afterPrefix, readU48, u48Key, writeU48 } from "./bytes.ts";
import type { Table } from "./environment.ts";

export class Reposts {
  readonly #table: Table;

  constructor(table: Table) {
    this.#table = table;
  }

  /** The offset of `reposter`'s repost of `original`; undefined when there is none, or it was withdrawn. */
  find(original: Offset, reposter: UserNo): Offset | undefined {
    const bytes = this.#table.get(keyOf(original, reposter));
    return bytes === undefined || isWithdrawn(bytes) ? undefined : readU48(bytes, 0);
  }

  /** Within a transaction. */
  put(original: Offset, reposter: UserNo, repost: Offset): void {
    const key = keyOf(original, reposter);
    const earlier = this.#table.get(key);
    const bytes = Buffer.alloc(13);
    writeU48(bytes, 0, repost);
    writeU48(bytes, 6, earlier === undefined ? repost : readU48(earlier, 6));
    this.#table.putSync(key, bytes);
  }

  /** The reposter has deleted their repost. Within a transaction. */
  withdraw(original: Offset, reposter: UserNo): void {
    const key = keyOf(original, reposter);
    const known = this.#table.get(key);
    if (known === undefined) return;
    const bytes = Buffer.from(known);
    bytes[12] = 1;
    this.#table.putSync(key, bytes);
  }

  /** The entry `repost` is trimmed; one made again since stays. Within a transaction. */
  forget(original: Offset, reposter: UserNo, repost: Offset): void {
    const key = keyOf(original, reposter);
    const known = this.#table.get(key);
    if (known !== undefined && readU48(known, 0) === repost) this.#table.removeSync(key);
  }

  /** Whether there is a repost of `original`. */
  any(original: Offset): boolean {
    const start = u48Key(original);
    for (const { value } of this.#table.getRange({ start, end: afterPrefix(start) }))
      if (!isWithdrawn(value)) return true;
    return false;
  }

  /** Whether `original` was reposted before the offset `before`, be it withdrawn since. Looks at `most` reposters, and says
   *  yes when there are more. */
  anyBefore(original: Offset, before: Offset, most: number): boolean {
    const start = u48Key(original);
    let seen = 0;
    for (const { value } of this.#table.getRange({ start, end: afterPrefix(start), limit: most + 1 })) {
      if (readU48(value, 6) < before || ++seen > most) return true;
    }
    return false;
  }

  /** Who have a repost of `original`, by ascending number from over `after` on: of `most` of them at most. `next` is where to
   *  go on; undefined at the end. */
  reposters(
    original: Offset,
    after: UserNo,
    most: number,
  ): { reposters: UserNo[]; next: UserNo | undefined } {
    const range = { start: keyOf(original, after + 1), end: afterPrefix(u48Key(original)), limit: most + 1 };
    const reposters: UserNo[] = [];
    let last = after;
    let seen = 0;
    for (const { key, value } of this.#table.getRange(range)) {
      if (++seen > most) return { reposters, next: last };
      last = ((key[6]! << 24) | (key[7]! << 16) | (key[8]! << 8) | key[9]!) >>> 0;
      if (!isWithdrawn(value)) reposters.push(last);
    }
    return { reposters, next: undefined };
  }
}

function isWithdrawn(value: Uint8Array): boolean {
  return value[12] === 1;
}

function keyOf(original: Offset, reposter: UserNo): Buffer {
  const key = Buffer.allocUnsafe(10);
  key.writeUIntBE(original, 0, 6);
  key.writeUInt32BE(reposter, 6);
  return key;
}
