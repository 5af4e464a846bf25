/* Unclaimed: users who were made by what was written, and have never asked for anything to be kept. A trim drops those that nothing
 * refers to any more.
 *
 *   unclaimed    user u32             ->  named u48 | keyed u48
 *   keyHolders   keyed u48 | user u32 ->  empty
 *
 * What refers to a user: entries, follows, publish keys. By whom entries are, and whom they mention, the topics tell, and the follows
 * tell themselves. `named` is the greatest offset of an entry that names the user otherwise (`namedApart` in apply.ts). `keyed`, where it
 * is not 0, is that of the last entry by the user, which is gone: publish keys of posts up to there may be in force, and `keyHolders` has
 * who waits for these. Keys are not filed by author, and to note each author's last would cost a post as much as all that is filed of it:
 * so an author stays until no key is in force that may be theirs. Where entries are kept longer than keys, nobody waits.
 *
 * Greatest offsets and no counts: entries and keys go oldest first, so that the last to name a user is the last to go, and nothing can
 * come to count otherwise than it was counted before. A post that is no reply writes nothing here once its users are there.
 *
 * Who has no row is claimed, and stays: by a `user` command, which is what begins a durable cursor, since cursors are no commands and
 * nothing that all nodes decide alike may depend on them; or made by a version that dropped nobody.
 *
 * Rows are decided command by command and written once for a transaction. */

import { type Offset, type UserNo, empty, readU48, u32Key, u48Key, writeU48 } from "./bytes.ts";
import type { Tables } from "./environment.ts";
import { UserMarks } from "./user-marks.ts";

export interface UnclaimedRow {
  named: Offset;
  keyed: Offset;
}

export class Unclaimed {
  readonly #tables: Tables;
  /** Users known to be claimed. */
  readonly #claimed = new UserMarks();
  /** What the transaction under way has read or changed, and not yet written; undefined: the user has no row. */
  readonly #underWay = new Map<UserNo, UnclaimedRow | undefined>();

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** Whether `user`, as the present snapshot has them, is there to stay. Not within a transaction. */
  isClaimed(user: UserNo): boolean {
    if (this.#claimed.has(user)) return true;
    const key = u32Key(user);
    // One who was dropped has no row either.
    if (this.#tables.unclaimed.get(key) !== undefined || this.#tables.users.get(key) === undefined)
      return false;
    this.#claimed.set(user);
    return true;
  }

  /** Whether somebody waits for keys of posts before `before`. */
  anyHolder(before: Offset): boolean {
    for (const key of this.#tables.keyHolders.getKeys({ limit: 1 }))
      return readU48(Buffer.from(key), 0) < before;
    return false;
  }

  /** All that are not claimed, as the tables have it: for checks of the whole store. */
  *rows(): Generator<[UserNo, UnclaimedRow]> {
    for (const { key, value } of this.#tables.unclaimed.getRange({}))
      yield [Buffer.from(key).readUInt32BE(0), rowOf(value)];
  }

  // What follows is called within a transaction.

  /** A transaction begins. What an undone one left is not believed. */
  begin(): void {
    this.#underWay.clear();
  }

  /** Undefined when the user is claimed, or not there. */
  row(user: UserNo): UnclaimedRow | undefined {
    if (this.#claimed.has(user)) return undefined;
    const known = this.#underWay.get(user);
    if (known !== undefined || this.#underWay.has(user)) return known;
    const bytes = this.#tables.unclaimed.get(u32Key(user));
    if (bytes === undefined) {
      // Committed so, unless the user is gone: the transaction under way has not touched it.
      if (this.#tables.users.get(u32Key(user)) !== undefined) this.#claimed.set(user);
      return undefined;
    }
    const row = rowOf(bytes);
    this.#underWay.set(user, row);
    return row;
  }

  /** A user was made: with a row, unless they are claimed from the beginning. */
  create(user: UserNo, isClaimed: boolean): void {
    this.#underWay.set(user, isClaimed ? undefined : { named: 0, keyed: 0 });
  }

  /** The entry at `offset` names the user, and no topic tells of it. */
  name(user: UserNo, offset: Offset): void {
    const row = this.row(user);
    if (row !== undefined) row.named = offset;
  }

  /** The last entry by the user, at `offset`, is gone; keys of posts up to there may be in force. */
  hold(user: UserNo, offset: Offset): void {
    const row = this.row(user);
    if (row === undefined) return;
    row.keyed = offset;
    this.#tables.keyHolders.putSync(holderKey(offset, user), empty);
  }

  /** The next of those who wait for keys of posts before `before`, `most` at most: they wait no longer. */
  release(before: Offset, most: number): UserNo[] {
    const keys: Buffer[] = [];
    for (const key of this.#tables.keyHolders.getKeys({ limit: most })) {
      if (readU48(Buffer.from(key), 0) >= before) break;
      keys.push(Buffer.from(key));
    }
    for (const key of keys) this.#tables.keyHolders.removeSync(key);
    return keys.map((key) => key.readUInt32BE(6));
  }

  /** The user is claimed, or dropped. */
  remove(user: UserNo): void {
    this.#tables.unclaimed.removeSync(u32Key(user));
    this.#underWay.set(user, undefined);
  }

  /** Writes what has changed. */
  end(): void {
    for (const [user, row] of this.#underWay) {
      if (row === undefined) continue;
      const bytes = Buffer.allocUnsafe(12);
      writeU48(bytes, 0, row.named);
      writeU48(bytes, 6, row.keyed);
      this.#tables.unclaimed.putSync(u32Key(user), bytes);
    }
    this.#underWay.clear();
  }
}

function rowOf(bytes: Buffer): UnclaimedRow {
  return { named: readU48(bytes, 0), keyed: readU48(bytes, 6) };
}

function holderKey(offset: Offset, user: UserNo): Buffer {
  return Buffer.concat([u48Key(offset), u32Key(user)]);
}
