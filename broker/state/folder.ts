/* Folder: the data folder as the operating system sees it.
 *
 *   DATA/data.mdb       LMDB's file
 *   DATA/lock.mdb       LMDB's table of readers
 *   DATA/opening.json   which broker's run wrote the store last (opening.ts)
 *   DATA/lock           who has the folder (folder-lock.ts)
 *
 * What the broker makes is for its user alone, whatever the umask. Its files are narrowed to that at each start, since earlier versions
 * left them open to others. A folder that others may enter is not changed but told of: it may be somebody's on purpose, or hold other things. */

import type { Stats } from "node:fs";
import { access, chmod, constants, lstat, mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

/** LMDB's files in it. */
export const storeFile = "data.mdb";
export const readersFile = "lock.mdb";
export const openingFile = "opening.json";
export const lockFile = "lock";

/** Modes of what is made: its user's alone. */
export const folderMode = 0o700;
export const fileMode = 0o600;
const others = 0o077;

/** The folder cannot be used; the message says why and what to do. */
export class FolderError extends Error {
  override readonly name = "FolderError";
}

/** Makes `path` when it is missing, and sees that it can be used. @throws FolderError */
export async function makeFolder(path: string): Promise<void> {
  try {
    await makeMissing(path, folderMode);
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new FolderError(`data folder ${path}: cannot be made or written (${(cause as Error).message})`, {
      cause,
    });
  }
}

/** `mkdir -p`, with the folder's own mode. Node's own never ends where a parent that is there says it is not, as in /proc. */
async function makeMissing(path: string, mode?: number): Promise<void> {
  try {
    await mkdir(path, mode);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return;
    if (code !== "ENOENT" || dirname(path) === path) throw error;
    await makeMissing(dirname(path));
    await mkdir(path, mode);
  }
}

/** Narrows the broker's files to its user. What cannot be changed, being another user's, is left. */
export async function narrowFiles(path: string): Promise<void> {
  for (const name of [storeFile, readersFile, openingFile, lockFile]) {
    const file = join(path, name);
    const found = await lstat(file).catch(() => undefined);
    if (found?.isFile() === true && (found.mode & others) !== 0) await chmod(file, fileMode).catch(() => {});
  }
}

/** What is to be said of a folder that others than its user may enter or list; undefined when there is nothing. */
export async function opennessOf(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found === undefined ? undefined : opennessBy(path, found);
}

function opennessBy(path: string, { mode }: Stats): string | undefined {
  if ((mode & others) === 0) return undefined;
  return (
    `data folder ${path}: other users may enter it (mode ${(mode & 0o7777).toString(8).padStart(4, "0")}); ` +
    `its files are for this user alone, the folder is to be closed by hand: chmod 700 ${path}`
  );
}
