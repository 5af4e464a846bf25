/* Opening: whether the store in a folder is the one that was left there, or a copy put back.
 *
 * Who puts an older copy of the folder in its place takes history back: entries that readers have seen are gone, and others come at their
 * offsets. Such a store must go on in a new epoch. Nothing in a copy tells of it, so each opening by a broker leaves its name in two
 * places, which no copy brings back together:
 *
 *   in the store         meta.opening    the name of the opening, and of the one before it
 *   DATA/opening.json    {"opening": name, "file": identity of this very file, "store": identity of data.mdb, "head": offset}
 *
 * A broker replaces the file at each opening, at each clean stop and every few seconds while the store grows, so it is another file each time,
 * and says which one it is by its number (inode) and the time it was made. A copy is another file again; and copied over the one that is there, it says the wrong number. `head`
 * is how far the store had come at the least.
 *
 * What changes neither numbers nor content is no copy: chmod, chown, `mv` within a file system. What restores a whole disk, as a
 * snapshot of a volume or of a virtual machine does, restores the numbers too, and cannot be noticed.
 *
 * Order at an opening: the file is written aside, the name is committed to the store, the file is renamed into place. A crash in between
 * leaves the file of the opening before, which the store still names. */

import { randomBytes } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";

import type { Offset } from "./bytes.ts";
import { FolderError, fileMode, openingFile, storeFile } from "./folder.ts";
import { syncFolder } from "./sync.ts";

/** What the store says of who opened it last. */
export interface OpeningMark {
  name: string;
  before?: string;
}

/** One file and no other, for as long as it is there. */
interface Identity {
  ino: string;
  /** When it was made, in ns since the Unix epoch; "0" where the file system does not tell. */
  made: string;
}

interface Note {
  opening: string;
  file: Identity;
  store: Identity;
  head: Offset;
}

/** What the file beside the store says; "none" when there is no file, or nothing to be read in it. */
export type Noted = "none" | { note: Note; isOriginal: boolean };

export function newOpening(before: OpeningMark | undefined): OpeningMark {
  const name = randomBytes(8).toString("hex");
  return before === undefined ? { name } : { name, before: before.name };
}

/** Reads the file in the folder `path`. */
export async function readOpening(path: string): Promise<Noted> {
  const file = await open(join(path, openingFile)).catch(() => undefined);
  if (file === undefined) return "none";
  try {
    const note = parse(await file.readFile("utf8"));
    return note === undefined ? "none" : { note, isOriginal: isSame(note.file, await identityOf(file)) };
  } finally {
    await file.close();
  }
}

/** Why the store in the folder `path`, which has this mark and head, is a copy put back; undefined when it is not known to be one. */
export async function copyReason(
  path: string,
  noted: Noted,
  { mark, head }: { mark: OpeningMark | undefined; head: Offset },
): Promise<string | undefined> {
  if (noted === "none") {
    // A store of a version that left no marks has neither.
    return mark === undefined
      ? undefined
      : `${openingFile}, which says who opened the store last, is not beside it`;
  }
  const { note, isOriginal } = noted;
  if (!isOriginal) return `${openingFile} is not the file that the last broker left, but a copy of one`;
  if (!isSame(note.store, await identityAt(join(path, storeFile))))
    return `${storeFile} is not the file that the last broker left`;
  if (note.opening !== mark?.name && note.opening !== mark?.before)
    return "the store is not the one that was opened last here";
  if (head < note.head) return `the store ends at ${head}, and had come to ${note.head}`;
  return undefined;
}

/** A folder whose store is gone is no new one: to begin there with nothing would hide it. @throws FolderError */
export async function refuseLostStore(path: string): Promise<void> {
  if ((await readOpening(path)) === "none") return;
  throw new FolderError(
    `data folder ${path}: a broker has had a store here, and its ${storeFile} is gone or empty: put it back, ` +
      `restore a backup (whalesong restore BACKUP --data ${path} --replace), or remove ${openingFile} to begin with nothing`,
  );
}

/** The file, written and on disk, but not yet in its place. */
export interface Draft {
  place(): Promise<void>;
  discard(): Promise<void>;
}

/** Writes the file for the store in the folder `path`, whose `data.mdb` may still lie in another, `storeIn`. */
export async function draftOpening(
  path: string,
  { opening, head, storeIn = path }: { opening: string; head: Offset; storeIn?: string },
): Promise<Draft> {
  const name = join(path, openingFile);
  const aside = `${name}.new`;
  await rm(aside, { force: true });
  const discard = async (): Promise<void> => await rm(aside, { force: true });
  try {
    const file = await open(aside, "wx", fileMode);
    try {
      const store = await identityAt(join(storeIn, storeFile));
      const note: Note = { opening, file: await identityOf(file), store, head };
      await file.writeFile(`${JSON.stringify(note)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    await discard().catch(() => {});
    throw error;
  }
  return {
    async place() {
      await rename(aside, name);
      await syncFolder(path);
    },
    discard,
  };
}

function parse(text: string): Note | undefined {
  try {
    const { opening, file, store, head } = JSON.parse(text) as Partial<Note>;
    if (typeof opening !== "string" || typeof head !== "number") return undefined;
    return isIdentity(file) && isIdentity(store) ? { opening, file, store, head } : undefined;
  } catch {
    return undefined;
  }
}

function isIdentity(value: Partial<Identity> | undefined): value is Identity {
  return typeof value?.ino === "string" && typeof value.made === "string";
}

function isSame(a: Identity, b: Identity): boolean {
  return a.ino === b.ino && a.made === b.made;
}

async function identityOf(file: FileHandle): Promise<Identity> {
  return toIdentity(await file.stat({ bigint: true }));
}

async function identityAt(path: string): Promise<Identity> {
  return toIdentity(await stat(path, { bigint: true }));
}

function toIdentity({ ino, birthtimeNs }: BigIntStats): Identity {
  return { ino: String(ino), made: String(birthtimeNs) };
}
