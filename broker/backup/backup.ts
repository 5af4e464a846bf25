/* Backup: a copy of a data folder's store, of one moment, whether its broker runs or not.
 *
 *   TARGET/partial/   the copy while it is made
 *   TARGET/data.mdb   the copy, once it is on disk and every row of it was read
 *   TARGET/backup.json   what it is (manifest.ts), written last
 *
 * The copy is LMDB's own: compact, and of the newest commit when it begins. A broker that runs goes on meanwhile; its store grows by what
 * is written until the copy is done. */

import { mkdir, open, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { join } from "node:path";

import {
  FolderError,
  type Walk,
  copyStore,
  fileMode,
  folderMode,
  formatVersion,
  inspectStore,
  storeFile,
  syncFile,
  syncFolder,
  walkStore,
} from "../state/index.ts";
import { packageVersion } from "../version.ts";
import { type Manifest, hashOf, manifestFile, manifestVersion } from "./manifest.ts";

/** How often it is said how far a long copy is, in ms. */
const progressMs = 5_000;

export interface Backup extends Manifest {
  walked: Walk;
}

/** Backs up the data folder `data` into the folder `target`, which is made, or is empty. Once it settles, all of it is on disk.
 *  @throws FolderError, ReaderIdError */
export async function backUp(
  data: string,
  target: string,
  { onProgress = () => {} }: { onProgress?: (copied: number, of: number) => void } = {},
): Promise<Backup> {
  const store = await inspectStore(data);
  if (store === undefined)
    throw new FolderError(`data folder ${data}: there is no store yet, so nothing to back up`);
  if (store.format !== formatVersion) {
    throw new FolderError(
      `data folder ${data}: its format is version ${store.format}, this broker reads version ${formatVersion}; use the broker that wrote it`,
    );
  }
  const made = await makeTarget(target);
  const partial = join(target, "partial");
  try {
    await mkdir(partial, folderMode);
    await copyWithProgress(data, partial, onProgress);
    const { manifest, walked } = await check(partial);
    await place(partial, target, manifest);
    return { ...manifest, walked };
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    if (made !== undefined) await rmdir(target).catch(() => {});
    throw named(error, target);
  }
}

/** The first folder that had to be made. @throws FolderError when it is not empty, or cannot be made */
async function makeTarget(target: string): Promise<string | undefined> {
  let made: string | undefined;
  let found: string[];
  try {
    made = await mkdir(target, { recursive: true, mode: folderMode });
    found = await readdir(target);
  } catch (cause) {
    throw new FolderError(`backup folder ${target}: cannot be made or read (${(cause as Error).message})`, {
      cause,
    });
  }
  const kept = found.filter((name) => name !== "lost+found");
  if (kept.length === 0) return made;
  throw new FolderError(
    `backup folder ${target}: it is not empty (it has ${kept[0]}); name another one, or one that is not there yet`,
  );
}

async function copyWithProgress(
  data: string,
  partial: string,
  onProgress: (copied: number, of: number) => void,
): Promise<void> {
  const { size: of } = await stat(join(data, storeFile));
  const timer = setInterval(() => {
    stat(join(partial, storeFile)).then(
      ({ size }) => onProgress(size, of),
      () => {},
    );
  }, progressMs);
  try {
    await copyStore(data, partial);
  } finally {
    clearInterval(timer);
  }
}

/** Reads all of the copy, as it will be read when it is needed. */
async function check(partial: string): Promise<{ manifest: Manifest; walked: Walk }> {
  const file = join(partial, storeFile);
  const walked = await walkStore(partial);
  const { format, epoch, floor, head, cluster } = (await inspectStore(partial))!;
  await syncFile(file);
  const manifest: Manifest = {
    backup: manifestVersion,
    format,
    version: packageVersion(),
    epoch,
    floor,
    head,
    isOfCluster: cluster !== undefined,
    bytes: (await stat(file)).size,
    sha256: await hashOf(file),
    at: Date.now(),
  };
  return { manifest, walked };
}

async function place(partial: string, target: string, manifest: Manifest): Promise<void> {
  const file = await open(join(partial, manifestFile), "wx", fileMode);
  try {
    await file.writeFile(`${JSON.stringify(manifest, undefined, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  for (const name of [storeFile, manifestFile]) {
    await rename(join(partial, name), join(target, name));
    await syncFolder(target);
  }
  await rm(partial, { recursive: true });
  await syncFolder(join(target, ".."));
}

/** What an operator can mend is said as such. */
function named(error: unknown, target: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  const isFull = code === "ENOSPC" || code === "EDQUOT" || /No space left|Disk quota/.test(message);
  return isFull
    ? new FolderError(`backup folder ${target}: there is no room for the copy`, { cause: error })
    : error;
}
