/* Cursors: how far each device of a user has read each stream.
 *
 *   cursors   user u32 | device UTF-8 | 0 | stream UTF-8   ->  offset u48 | generation i32
 *
 * Not commands: a cursor is the maximum of what was acknowledged within a generation. Seeking back opens a new
 * generation, so that a late acknowledgement of the old one cannot undo it. So of two accounts of one cursor the later one
 * is the truth, in whatever order and however often they are heard.
 *
 * Below all generations is the provisional one, -1: of a cursor that was begun where nobody could know whether there is another, at a
 * node that others cannot be asked from. Whatever was begun or acknowledged elsewhere undoes it.
 *
 * Devices come and are not heard of again, and a client may call itself by a new name each time: a user has so many
 * cursors at most, and a new one past that takes the place of the one furthest behind. One that another node tells of has to be
 * further than that: so nodes that tell each other of theirs come to keep the same. */

import { limits } from "../../protocol/index.ts";
import { type Offset, type UserNo, afterPrefix, maxOffset, readU48, writeU48 } from "./bytes.ts";
import type { Table } from "./environment.ts";

export interface Cursor {
  offset: Offset;
  generation: number;
}

/** Bytes of a cursor's key in the table, at most: a device of 64 characters and a tag of 100, at four bytes each, take 665. */
export const maxCursorKeyBytes = 1_024;
/** What LMDB takes; it throws at more, also when it only looks. */
const maxTableKeyBytes = 1_978;

/** A cursor that cannot be written, whatever room there is: nobody else's is the worse for it. */
export class CursorError extends Error {
  override readonly name = "CursorError";
}

/** The generation of a cursor that was begun without knowing whether there is another elsewhere. */
export const provisional = -1;

/** What makes of a key the next one there could be. */
const justAfter = Buffer.alloc(1);

/** Names one cursor. Equal for equal (user, device, stream). */
export type CursorKey = string;

export function cursorKey(user: UserNo, device: string, stream: string): CursorKey {
  return `${user}\u0000${device}\u0000${stream}`;
}

/** Whether `cursor` undoes `known`: its generation is higher, or it is further in the same one. */
export function isLater(cursor: Cursor, known: Cursor | undefined): boolean {
  if (known === undefined || cursor.generation > known.generation) return true;
  return cursor.generation === known.generation && cursor.offset > known.offset;
}

export class Cursors {
  readonly #table: Table;

  constructor(table: Table) {
    this.#table = table;
  }

  get(key: CursorKey): Cursor | undefined {
    if (!isUser(userOf(key))) return undefined;
    const name = bytesOf(key);
    const bytes = name.length > maxTableKeyBytes ? undefined : this.#table.get(name);
    return bytes === undefined ? undefined : cursorOf(bytes);
  }

  /** All that follow `key` in the order of the table; all there are when it is undefined. */
  *after(key: CursorKey | undefined): Generator<[CursorKey, Cursor]> {
    const range = key === undefined ? {} : { start: Buffer.concat([bytesOf(key), justAfter]) };
    for (const { key: bytes, value } of this.#table.getRange(range))
      yield [keyOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)), cursorOf(value)];
  }

  /** Within a transaction. Returns the cursor that there is no room for now, if there is one: another, or `key` itself when
   *  another node tells of it. @throws CursorError, and has changed nothing, for one that no table can hold */
  put(key: CursorKey, cursor: Cursor, isFromElsewhere = false): CursorKey | undefined {
    if (!isUser(userOf(key))) throw new CursorError("a cursor's name begins with its user's number");
    const name = bytesOf(key);
    refuseUnwritable(name, cursor);
    const isNew = this.#table.get(name) === undefined;
    const last = isNew ? this.#lastOf(name) : undefined;
    if (last !== undefined) {
      const isBehind = cursor.offset - last.offset || Buffer.compare(name, last.name);
      if (isFromElsewhere && isBehind < 0) return key;
      this.#table.removeSync(last.name);
    }
    const bytes = Buffer.allocUnsafe(10);
    writeU48(bytes, 0, cursor.offset);
    bytes.writeInt32BE(cursor.generation, 6);
    this.#table.putSync(name, bytes);
    return last === undefined ? undefined : keyOf(last.name);
  }

  /** Of a new cursor's user: the one furthest behind, of equal ones the first by name, when they have as many as may be. */
  #lastOf(name: Buffer): { name: Buffer; offset: Offset } | undefined {
    const start = name.subarray(0, userBytes);
    let count = 0;
    let last: { name: Buffer; offset: Offset } | undefined;
    for (const { key, value } of this.#table.getRange({ start, end: afterPrefix(start) })) {
      count++;
      const offset = readU48(value, 0);
      if (last === undefined || offset < last.offset) last = { name: Buffer.from(key), offset };
    }
    return count < limits.cursors ? undefined : last;
  }
}

const userBytes = 4;
const maxGeneration = 2 ** 31 - 1;

/** @throws CursorError */
function refuseUnwritable(name: Buffer, { offset, generation }: Cursor): void {
  if (name.length > maxCursorKeyBytes)
    throw new CursorError(`a cursor's name has ${maxCursorKeyBytes} bytes at most; got ${name.length}`);
  if (!isWhole(offset, maxOffset) || (generation !== provisional && !isWhole(generation, maxGeneration)))
    throw new CursorError(`a cursor is an offset and a generation; got ${offset} and ${generation}`);
}

function isWhole(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= most;
}

function userOf(key: CursorKey): UserNo {
  return Number(key.slice(0, key.indexOf("\u0000")));
}

function isUser(user: number): boolean {
  return isWhole(user, 2 ** 32 - 1);
}

function bytesOf(key: CursorKey): Buffer {
  const name = Buffer.from(key.slice(key.indexOf("\u0000") + 1));
  const bytes = Buffer.allocUnsafe(userBytes + name.length);
  bytes.writeUInt32BE(userOf(key), 0);
  name.copy(bytes, userBytes);
  return bytes;
}

function keyOf(bytes: Buffer): CursorKey {
  return `${bytes.readUInt32BE(0)}\u0000${bytes.toString("utf8", userBytes)}`;
}

function cursorOf(bytes: Buffer): Cursor {
  return { offset: readU48(bytes, 0), generation: bytes.readInt32BE(6) };
}
