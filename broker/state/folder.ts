/* Folder: the data folder as the operating system sees it.
 *
 *   DATA/lock       pid and start time of the broker that has it open
 *   DATA/data.mdb   LMDB's file
 *   DATA/lock.mdb   LMDB's table of readers
 *
 * One broker has a folder at a time. The lock names a process by pid and start time, so that one left by a crash is known
 * to be stale even when its pid was given to another process since. */

import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { access, constants, mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

/** LMDB's file in it. */
export const storeFile = "data.mdb";

export interface FolderLock {
  release(): void;
}

interface Holder {
  pid: number;
  started: string;
}

/** What can be told of a data folder without opening it for writing. */
export interface FolderReport {
  exists: boolean;
  writable: boolean;
  /** The bytes of LMDB's file; 0 when there is none. */
  bytes: number;
  lockedBy?: { pid: number };
}

/** The folder cannot be used; the message says why and what to do. */
export class FolderError extends Error {
  override readonly name = "FolderError";
}

/** Makes `path` when it is missing and takes its lock. @throws FolderError when another broker has it, or it cannot be written. */
export async function lockFolder(path: string): Promise<FolderLock> {
  try {
    await makeFolder(path);
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new FolderError(`data folder ${path}: cannot be made or written (${(cause as Error).message})`, {
      cause,
    });
  }
  const file = join(path, "lock");
  const me: Holder = { pid: process.pid, started: startOf(process.pid) };
  for (let attempt = 0; attempt < 3; attempt++) {
    if (tryCreate(file, JSON.stringify(me))) return { release: () => unlinkSync(file) };
    const holder = readHolder(file);
    if (holder !== undefined && isAlive(holder)) {
      throw new FolderError(
        `data folder ${path}: in use by another broker (process ${holder.pid}); stop it, or choose another folder with --data`,
      );
    }
    removeStale(file);
  }
  throw new FolderError(`data folder ${path}: its lock keeps being taken by others`);
}

/** `mkdir -p`. Node's own never ends where a parent that is there says it is not, as in /proc. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return;
    if (code !== "ENOENT" || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await mkdir(path);
  }
}

export async function inspectDataFolder(path: string): Promise<FolderReport> {
  const exists = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!exists) return { exists, writable: false, bytes: 0 };
  const writable = await access(path, constants.R_OK | constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
  const bytes = await stat(join(path, storeFile)).then(
    (found) => found.size,
    () => 0,
  );
  const holder = readHolder(join(path, "lock"));
  return holder !== undefined && isAlive(holder)
    ? { exists, writable, bytes, lockedBy: { pid: holder.pid } }
    : { exists, writable, bytes };
}

/** Creates `file` with its text in one step, so that nobody reads half a lock. */
function tryCreate(file: string, text: string): boolean {
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, text);
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    unlinkSync(draft);
  }
}

/** Removes a dead broker's lock; one that another starting broker has taken meanwhile is put back. */
function removeStale(file: string): void {
  const aside = `${file}.${process.pid}.stale`;
  try {
    renameSync(file, aside);
    const holder = readHolder(aside);
    if (holder !== undefined && isAlive(holder)) linkSync(aside, file);
    unlinkSync(aside);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "ENOENT" && code !== "EEXIST") throw error;
  }
}

function readHolder(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Holder;
  } catch {
    return undefined;
  }
}

function isAlive(holder: Holder): boolean {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  return startOf(holder.pid) === holder.started;
}

/** A process's start time as the kernel counts it; empty where there is no /proc, so that the pid alone decides. */
function startOf(pid: number): string {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8");
    return fields.slice(fields.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}
