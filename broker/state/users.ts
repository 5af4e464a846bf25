/* Users: handles and the numbers that stand for them.
 *
 *   handles  folded handle, UTF-8  ->  user u32
 *   users    user u32              ->  handle as first given, UTF-8
 *
 * Everything else names users by number, so that a rename keeps follows, cursors and history. */

import { fold } from "../../protocol/index.ts";
import { type UserNo, u32Key } from "./bytes.ts";
import { RecentMap } from "./recent-map.ts";
import type { Tables } from "./environment.ts";

/** Handles kept in memory, in either direction. A user is kept once committed: until then readers must not see them. */
const cachedUsers = 200_000;

export class Users {
  readonly #tables: Tables;
  readonly #numbers = new RecentMap<string, UserNo>(cachedUsers);
  readonly #handles = new RecentMap<UserNo, string>(cachedUsers);
  /** Users that the transaction under way has created. */
  readonly #created = new Set<UserNo>();

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** The number of `handle`, in any spelling; undefined when it was never used. */
  find(handle: string): UserNo | undefined {
    const cached = this.#numbers.get(handle);
    if (cached !== undefined) return cached;
    const bytes = this.#tables.handles.get(Buffer.from(fold(handle)));
    if (bytes === undefined) return undefined;
    const user = bytes.readUInt32BE(0);
    if (!this.#created.has(user)) this.#numbers.set(handle, user);
    return user;
  }

  /** The handle of `user`, as first given. */
  handle(user: UserNo): string {
    const cached = this.#handles.get(user);
    if (cached !== undefined) return cached;
    const bytes = this.#tables.users.get(u32Key(user));
    if (bytes === undefined) throw new Error(`user ${user} has no handle: the store is damaged`);
    const handle = bytes.toString();
    this.#handles.set(user, handle);
    return handle;
  }

  /** The greatest number that a user has; 0 while there is none. */
  newest(): UserNo {
    for (const key of this.#tables.users.getKeys({ reverse: true, limit: 1 })) return numberOf(key);
    return 0;
  }

  /** Writes a new user. Within a transaction. */
  create(user: UserNo, handle: string): void {
    this.#tables.handles.putSync(Buffer.from(fold(handle)), u32Key(user));
    this.#tables.users.putSync(u32Key(user), Buffer.from(handle));
    this.#created.add(user);
  }

  /** The transaction that created users is committed, or undone. */
  settle(): void {
    this.#created.clear();
  }
}

function numberOf(key: Uint8Array): UserNo {
  return ((key[0]! << 24) | (key[1]! << 16) | (key[2]! << 8) | key[3]!) >>> 0;
}
