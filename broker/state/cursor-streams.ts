/* Cursor streams: how a durable cursor names its stream.
 *
 *   home   mentions   firehose   tag:FOLDED   thread:POST     as the stream's name
 *   user#NUMBER                                               a user's stream, from level 2 on, so that a rename keeps it
 *   user:FOLDED                                               the same below level 2; and of one who is no user, or may be dropped
 *
 * A user's number is theirs for good once they are there to stay. Who is no user yet, or was made by what was written and may be dropped and come
 * again under another number, has readers all the same: their cursors go by the name. So one cursor can be found under two names, its
 * own and the other, and the later of both is in force (cursors.ts says which is later).
 *
 * Nodes tell each other of cursors as they keep them, and one may be of the other level for a moment. What comes is kept as the receiver keeps its
 * own, where it knows the user already; if not, it stays as it came, and is found once it does. */

import { type CursorKey, cursorKey } from "./cursors.ts";
import type { State } from "./state.ts";

type Known = Pick<State, "level" | "users" | "unclaimed">;

const byName = "user:";
const byNumber = "user#";

/** `key` as a cursor is to be kept at present. */
export function keptKey(state: Known, key: CursorKey): CursorKey {
  const [reader, device, stream] = partsOf(key);
  const kept = keptStream(state, stream);
  return kept === stream ? key : cursorKey(reader, device, kept);
}

/** A stream's name as a cursor is to have it at present. */
export function keptStream(state: Known, stream: string): string {
  const { level, users, unclaimed } = state;
  if (level < 2) return stream.startsWith(byNumber) ? (otherStream(state, stream) ?? stream) : stream;
  if (!stream.startsWith(byName)) return stream;
  const user = users.find(stream.slice(byName.length));
  return user !== undefined && unclaimed.isClaimed(user) ? byNumber + user : stream;
}

/** Under what else the cursor may be found; undefined where there is just one name. */
export function otherKey(state: Known, key: CursorKey): CursorKey | undefined {
  const [reader, device, stream] = partsOf(key);
  const other = otherStream(state, stream);
  return other === undefined ? undefined : cursorKey(reader, device, other);
}

function otherStream({ users }: Known, stream: string): string | undefined {
  if (stream.startsWith(byName)) {
    const user = users.find(stream.slice(byName.length));
    return user === undefined ? undefined : byNumber + user;
  }
  if (!stream.startsWith(byNumber)) return undefined;
  const folded = users.foldedHandle(Number(stream.slice(byNumber.length)));
  return folded === undefined ? undefined : byName + folded;
}

/** Whether a cursor with this name may be kept under another at level 2. */
export function isByName(key: CursorKey): boolean {
  return partsOf(key)[2].startsWith(byName);
}

function partsOf(key: CursorKey): [reader: number, device: string, stream: string] {
  const first = key.indexOf("\u0000");
  const second = key.indexOf("\u0000", first + 1);
  return [Number(key.slice(0, first)), key.slice(first + 1, second), key.slice(second + 1)];
}
