/* Restore: puts a backup, or a copy of a data folder, in the place of a data folder's store.
 *
 *   DATA/incoming/   the copy while it is made, checked and made ready; then it takes the store's place by a rename
 *
 * Until that rename the folder stays as it is, and the backup is only read. What was answered after the backup was made is gone, and its
 * offsets will be given to other entries: so a new epoch begins, unless the caller knows that nothing was answered since. The store of a node
 * of a cluster keeps its epoch, which is the cluster's. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:fs";
import { chmod, chown, copyFile, mkdir, readdir, realpath, rename, rm, rmdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import {
  FolderError,
  type StoreReport,
  checkStoreFile,
  draftOpening,
  fileMode,
  findHolder,
  folderMode,
  inspectStore,
  lockFolder,
  readyStore,
  storeFile,
  syncFile,
  syncFolder,
  walkStore,
} from "../state/index.ts";
import { type Manifest, hashOf, isOf, readManifest } from "./manifest.ts";

export interface RestoreOptions {
  /** What is in the data folder goes. */
  replace?: boolean;
  /** Nothing was answered since the backup was made. */
  sameEpoch?: boolean;
}

export interface Restored {
  /** The epoch of the backup, and that of the data folder from now on. */
  before: string;
  epoch: string;
  floor: number;
  head: number;
  isOfCluster: boolean;
  /** Whether there was something to compare it with. */
  isVerified: boolean;
  /** What was in the data folder and is gone. */
  replaced: Pick<StoreReport, "epoch" | "head"> | undefined;
}

/** Names that a data folder without a store may have. */
const empty: ReadonlySet<string> = new Set([
  "lock",
  "lock.mdb",
  "opening.json",
  "incoming",
  "outgoing",
  "lost+found",
]);

/** Restores the backup in `source` into the data folder `data`. @throws FolderError */
export async function restore(source: string, data: string, options: RestoreOptions = {}): Promise<Restored> {
  if (!(await checkStoreFile(source)))
    throw new FolderError(`${source}: there is no backup in it (no ${storeFile})`);
  const manifest = await readManifest(source);
  if ((await findHolder(source)) !== undefined) {
    throw new FolderError(
      `${source}: it is the data folder of a running broker; make a backup of it: whalesong backup FOLDER --data ${source}`,
    );
  }
  const wasThere = await stat(data).then(
    () => true,
    () => false,
  );
  if (wasThere && (await realpath(source)) === (await realpath(data)))
    throw new FolderError(`${source}: it is the data folder itself`);
  const lock = await lockFolder(data);
  const incoming = join(data, "incoming");
  try {
    const replaced = await whatIsThere(data, options);
    await rm(incoming, { recursive: true, force: true });
    await mkdir(incoming, folderMode);
    await fetch(source, incoming, manifest);
    return await place(incoming, data, { ...options, manifest, replaced });
  } catch (error) {
    await rm(incoming, { recursive: true, force: true });
    throw named(error, data);
  } finally {
    await lock.release();
    if (!wasThere) await removeIfUnused(data);
  }
}

/** @throws FolderError when something is there that is not to be replaced */
async function whatIsThere(data: string, { replace = false }: RestoreOptions): Promise<Restored["replaced"]> {
  const found = (await readdir(data)).filter((name) => !empty.has(name));
  if (found.length === 0) return undefined;
  if (!replace) {
    throw new FolderError(
      `data folder ${data}: it is not empty (it has ${found[0]}); name an empty one with --data, or add --replace: what it has is gone then`,
    );
  }
  // What is replaced may be damaged: that may be why.
  const store = await inspectStore(data).catch(() => undefined);
  return store && { epoch: store.epoch, head: store.head };
}

/** Copies the store, and sees that the copy is whole. */
async function fetch(source: string, incoming: string, manifest: Manifest | undefined): Promise<void> {
  const file = join(incoming, storeFile);
  await copyFile(join(source, storeFile), file, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  await chmod(file, fileMode);
  if (manifest === undefined) {
    await walkApart(incoming);
    return;
  }
  const { size } = await stat(file);
  if (size !== manifest.bytes || (await hashOf(file)) !== manifest.sha256) {
    throw new FolderError(
      `${source}: the backup is damaged: its ${storeFile} is not the one that was backed up (${size} bytes of ${manifest.bytes}, or another SHA-256); take another backup`,
    );
  }
  await walkStore(incoming);
  if (!isOf((await inspectStore(incoming))!, manifest))
    throw new FolderError(
      `${source}: the backup is damaged: its store is not the one that backup.json tells of; take another backup`,
    );
}

/** Nothing vouches for it: LMDB ends the process by a signal when it follows a page that is none. So another process reads it first. */
async function walkApart(path: string): Promise<void> {
  const main = fileURLToPath(
    new URL(`../main.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url),
  );
  const args = [main, "doctor", "--data", path, "--digest", "--json"];
  const child = spawn(process.execPath, [...process.execArgv, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const [status, signal] = (await once(child, "close")) as [number | null, string | null];
  if (status !== 0)
    throw new FolderError(`the copy cannot be read whole (${signal ?? said.trim()}); take another one`);
  await walkStore(path);
}

async function place(
  incoming: string,
  data: string,
  {
    sameEpoch = false,
    manifest,
    replaced,
  }: RestoreOptions & { manifest: Manifest | undefined; replaced: Restored["replaced"] },
): Promise<Restored> {
  const { epoch: before, cluster } = (await inspectStore(incoming))!;
  const isOfCluster = cluster !== undefined;
  const { store, opening } = await readyStore(incoming, { isNewEpoch: !sameEpoch && !isOfCluster });
  const { epoch, floor, head } = store;
  await syncFile(join(incoming, storeFile));
  const draft = await draftOpening(data, { opening, head, storeIn: incoming });
  // LMDB's table of readers is of the store that goes.
  await rm(join(data, "lock.mdb"), { force: true });
  await rename(join(incoming, storeFile), join(data, storeFile));
  await draft.place();
  await rm(incoming, { recursive: true });
  await giveToOwner(data);
  await syncFolder(data);
  return { before, epoch, floor, head, isOfCluster, isVerified: manifest !== undefined, replaced };
}

/** What root restores is the folder's owner's: the broker runs as that one. */
async function giveToOwner(data: string): Promise<void> {
  const { uid, gid } = await stat(data);
  if (process.getuid?.() !== 0 || uid === 0) return;
  for (const name of [storeFile, "opening.json"]) await chown(join(data, name), uid, gid);
}

async function removeIfUnused(data: string): Promise<void> {
  if ((await readdir(data)).length === 0) await rmdir(data);
}

/** What an operator can mend is said as such. */
function named(error: unknown, data: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new FolderError(
    `data folder ${data}: there is no room for the backup; what was there is as it was`,
    { cause: error },
  );
}
