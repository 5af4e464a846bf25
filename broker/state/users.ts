/* Users: handles and the numbers that stand for them.
 *
 *   handles  folded handle, UTF-8  ->  user u32
 *   users    user u32              ->  handle as first given, UTF-8
 *
 * Everything else names users by number, so that a rename keeps follows, cursors and history. A user who is dropped leaves both
 * tables; the number is never given to another, and the handle, used again, gets another number. */

import { fold } from "../../protocol/index.ts";
import { type UserNo, u32Key } from "./bytes.ts";
import { RecentMap } from "./recent-map.ts";
import type { Tables } from "./environment.ts";
import { UserMarks } from "./user-marks.ts";

/** Handles kept in memory, in either direction. A user is kept once committed: until then readers must not see them. */
const cachedUsers = 200_000;
/** Handles kept of users who were dropped, for entries that are still on their way. */
const keptFormer = 500_000;

export class Users {
  readonly #tables: Tables;
  readonly #numbers = new RecentMap<string, UserNo>(cachedUsers);
  readonly #handles = new RecentMap<UserNo, string>(cachedUsers);
  /** Users that the transaction under way has created, */
  readonly #created = new Set<UserNo>();
  /** and those that it has dropped. */
  readonly #dropped = new Set<UserNo>();
  /** Users dropped since the store was opened: what is kept of them holds no more. */
  readonly #gone = new UserMarks();
  readonly #former = new RecentMap<UserNo, string>(keptFormer / 2);

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** The number of `handle`, in any spelling; undefined when it was never used. */
  find(handle: string): UserNo | undefined {
    const cached = this.#numbers.get(handle);
    if (cached !== undefined && !this.#gone.has(cached) && !this.#dropped.has(cached)) return cached;
    const bytes = this.#tables.handles.get(Buffer.from(fold(handle)));
    if (bytes === undefined) return undefined;
    const user = bytes.readUInt32BE(0);
    if (!this.#created.has(user) && !this.#dropped.has(user)) this.#numbers.set(handle, user);
    return user;
  }

  /** The handle of `user`, as first given; of one who was dropped a while ago, too. Not within a transaction. */
  handle(user: UserNo): string {
    const handle = this.#handles.get(user) ?? this.findHandle(user) ?? this.#former.get(user);
    if (handle === undefined) throw new Error(`user ${user} has no handle: the store is damaged`);
    return handle;
  }

  /** The same; undefined when there is no such user now. */
  findHandle(user: UserNo): string | undefined {
    if (this.#gone.has(user)) return undefined;
    const cached = this.#handles.get(user);
    if (cached !== undefined) return cached;
    const bytes = this.#tables.users.get(u32Key(user));
    if (bytes === undefined) return undefined;
    const handle = bytes.toString();
    this.#handles.set(user, handle);
    return handle;
  }

  /** Whether it is known that `user` was dropped. What has this number is about nobody any more. */
  isGone(user: UserNo): boolean {
    return this.#gone.has(user);
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

  /** Removes a user that nothing refers to. Returns the handle. Within a transaction. */
  drop(user: UserNo): string {
    const bytes = this.#tables.users.get(u32Key(user));
    if (bytes === undefined) throw new Error(`user ${user} has no handle: the store is damaged`);
    const handle = bytes.toString();
    this.#tables.handles.removeSync(Buffer.from(fold(handle)));
    this.#tables.users.removeSync(u32Key(user));
    this.#dropped.add(user);
    this.#former.set(user, handle); // before the commit: a reader may see it before `settle` is called
    return handle;
  }

  /** The transaction that created and dropped users is committed, or undone. */
  settle(isCommitted: boolean): void {
    if (isCommitted) for (const user of this.#dropped) this.#gone.set(user);
    this.#created.clear();
    this.#dropped.clear();
  }

  /** Another process has dropped a user. */
  forget(user: UserNo, handle: string): void {
    this.#former.set(user, handle);
    this.#gone.set(user);
  }
}

function numberOf(key: Uint8Array): UserNo {
  return ((key[0]! << 24) | (key[1]! << 16) | (key[2]! << 8) | key[3]!) >>> 0;
}
