/* Cursors: how far each device of a user has read each stream.
 *
 *   cursors   user u32 | device UTF-8 | 0 | stream UTF-8   ->  offset u48 | generation u32
 *
 * Not commands: a cursor is the maximum of what was acknowledged within a generation. Seeking back opens a new
 * generation, so that a late acknowledgement of the old one cannot undo it. */

import { type Offset, type UserNo, readU48, writeU48 } from "./bytes.ts";
import type { Table } from "./environment.ts";

export interface Cursor {
  offset: Offset;
  generation: number;
}

/** Names one cursor. Equal for equal (user, device, stream). */
export type CursorKey = string;

export function cursorKey(user: UserNo, device: string, stream: string): CursorKey {
  return `${user}\u0000${device}\u0000${stream}`;
}

export class Cursors {
  readonly #table: Table;

  constructor(table: Table) {
    this.#table = table;
  }

  get(key: CursorKey): Cursor | undefined {
    const bytes = this.#table.get(bytesOf(key));
    return bytes === undefined ? undefined : { offset: readU48(bytes, 0), generation: bytes.readUInt32BE(6) };
  }

  /** Within a transaction. */
  put(key: CursorKey, cursor: Cursor): void {
    const bytes = Buffer.allocUnsafe(10);
    writeU48(bytes, 0, cursor.offset);
    bytes.writeUInt32BE(cursor.generation, 6);
    this.#table.putSync(bytesOf(key), bytes);
  }
}

function bytesOf(key: CursorKey): Buffer {
  const split = key.indexOf("\u0000");
  const name = Buffer.from(key.slice(split + 1));
  const bytes = Buffer.allocUnsafe(4 + name.length);
  bytes.writeUInt32BE(Number(key.slice(0, split)), 0);
  name.copy(bytes, 4);
  return bytes;
}
