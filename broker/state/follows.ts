/* Follows: the durable, one-way relation, from both ends.
 *
 *   follows       follower u32 | target u32    -> since u48, the offset of the follow
 *   followers     target u32   | follower u32  -> empty
 *   followCounts  follower u32                 -> how many they follow, u32
 *
 * A count follows from the table of follows. Where it is absent, of a store from before there were counts, or of one who follows
 * nobody, it is counted. */

import { type Offset, type UserNo, afterPrefix, empty, readU48, u32Key, u48Key } from "./bytes.ts";
import type { Tables } from "./environment.ts";

/** Whom one user follows, and since which offset: parallel, by ascending target. */
export interface FollowList {
  targets: UserNo[];
  since: Offset[];
}

export class Follows {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** The offset at which `follower` began to follow `target`; undefined when they do not. */
  since(follower: UserNo, target: UserNo): Offset | undefined {
    const bytes = this.#tables.follows.get(pair(follower, target));
    return bytes === undefined ? undefined : readU48(bytes, 0);
  }

  has(follower: UserNo, target: UserNo): boolean {
    return this.#tables.follows.get(pair(follower, target)) !== undefined;
  }

  /** How many `follower` follows. */
  count(follower: UserNo): number {
    const bytes = this.#tables.followCounts.get(u32Key(follower));
    if (bytes !== undefined) return bytes.readUInt32BE(0);
    return this.#tables.follows.getKeysCount(rangeAfter(follower, 0));
  }

  /** Whether `follower` follows more than `most`. */
  isOver(follower: UserNo, most: number): boolean {
    const bytes = this.#tables.followCounts.get(u32Key(follower));
    if (bytes !== undefined) return bytes.readUInt32BE(0) > most;
    return this.following(follower, 0, most + 1).length > most;
  }

  /** Within a transaction, of those who are not followed. */
  add(follower: UserNo, target: UserNo, since: Offset): void {
    this.#tables.followCounts.putSync(u32Key(follower), u32Key(this.count(follower) + 1));
    this.#tables.follows.putSync(pair(follower, target), u48Key(since));
    this.#tables.followers.putSync(pair(target, follower), empty);
  }

  /** Within a transaction, of those who are followed. */
  remove(follower: UserNo, target: UserNo): void {
    const left = this.count(follower) - 1;
    if (left > 0) this.#tables.followCounts.putSync(u32Key(follower), u32Key(left));
    else this.#tables.followCounts.removeSync(u32Key(follower));
    this.#tables.follows.removeSync(pair(follower, target));
    this.#tables.followers.removeSync(pair(target, follower));
  }

  /** Whom `follower` follows: those with a number over `after`, `most` at most. */
  list(follower: UserNo, after: UserNo = 0, most: number = Number.MAX_SAFE_INTEGER): FollowList {
    const range = { ...rangeAfter(follower, after), limit: most };
    const targets: UserNo[] = [];
    const since: Offset[] = [];
    for (const { key, value } of this.#tables.follows.getRange(range)) {
      targets.push(secondOf(key));
      since.push(readU48(value, 0));
    }
    return { targets, since };
  }

  /** Up to `most` users that `follower` follows with a number over `after`, by ascending number. */
  following(follower: UserNo, after: UserNo, most: number): UserNo[] {
    return this.#page(this.#tables.follows, follower, after, most);
  }

  /** Up to `most` followers of `target` with a number over `after`, by ascending number. */
  followers(target: UserNo, after: UserNo, most: number): UserNo[] {
    return this.#page(this.#tables.followers, target, after, most);
  }

  #page(table: Tables["follows"], first: UserNo, after: UserNo, most: number): UserNo[] {
    const users: UserNo[] = [];
    const range = { ...rangeAfter(first, after), limit: most };
    for (const key of table.getKeys(range)) users.push(secondOf(key));
    return users;
  }
}

/** The pairs of `first` with numbers over `after`. */
function rangeAfter(first: UserNo, after: UserNo): { start: Buffer; end: Buffer } {
  return { start: pair(first, after + 1), end: afterPrefix(u32Key(first)) };
}

function pair(first: UserNo, second: UserNo): Buffer {
  const key = Buffer.allocUnsafe(8);
  key.writeUInt32BE(first, 0);
  key.writeUInt32BE(second, 4);
  return key;
}

function secondOf(key: Uint8Array): UserNo {
  return ((key[4]! << 24) | (key[5]! << 16) | (key[6]! << 8) | key[7]!) >>> 0;
}
