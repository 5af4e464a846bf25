/* Folder lock: one broker has a data folder at a time.
 *
 * The lock is the kernel's (flock.ts), of the folder itself and of DATA/lock. That of the folder holds also when the file is removed; that
 * of the file where the file system locks no folders. So what counts is who has them open, not a process id, which means nothing in
 * another container.
 *
 *   DATA/lock   JSON of who has the folder, for people: process id, its start, host. Removed by who has it, and by nobody else; who
 *               opened it before that sees, once it is locked, that the path leads to another file or none, and begins again.
 *
 * Brokers up to version 0.1.0 took no such lock; they left their process in the file, which is heeded when that process is alive. */

import { readFileSync } from "node:fs";
import { type FileHandle, access, constants, open, readFile, stat, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { FlockError, tryFlock } from "./flock.ts";
import { FolderError, fileMode, lockFile, makeFolder, opennessOf, storeFile } from "./folder.ts";

export interface FolderLock {
  release(): Promise<void>;
}

interface Holder {
  pid: number;
  /** When the process started, as the kernel counts it. */
  started: string;
  /** Of one that holds the kernel's lock: where. */
  host?: string;
}

/** What can be told of a data folder without opening it for writing. */
export interface FolderReport {
  exists: boolean;
  writable: boolean;
  /** The bytes of LMDB's file; 0 when there is none. */
  bytes: number;
  /** Somebody has it: who, where that is known. */
  lockedBy?: Partial<Pick<Holder, "pid" | "host">>;
  /** What is to be said of others than its user who may enter it. */
  openness?: string;
}

/** Whoever only looks whether it is locked (`doctor`) has the lock for a moment, and so has a process that is being killed: it is
 *  tried this often, with so long between, in ms. */
const attempts = 10;
const attemptMs = 50;

/** Makes `path` when it is missing and takes its lock. @throws FolderError when another broker has it, or it cannot be written. */
export async function lockFolder(path: string): Promise<FolderLock> {
  await makeFolder(path);
  for (let attempt = 1; attempt <= attempts; attempt++) {
    if (attempt > 1) await sleep(attemptMs);
    const lock = await tryLock(path);
    if (lock !== undefined) return lock;
  }
  throw inUse(path, await readHolder(path));
}

/** For who looks into a folder before locking it. @throws FolderError when somebody has it */
export async function refuseFolderInUse(path: string): Promise<void> {
  let holder: FolderReport["lockedBy"];
  for (let attempt = 1; attempt <= attempts; attempt++) {
    if (attempt > 1) await sleep(attemptMs);
    holder = await findHolder(path).catch(() => undefined); // locking it will tell what is wrong
    if (holder === undefined) return;
  }
  throw inUse(path, holder);
}

function inUse(path: string, holder: FolderReport["lockedBy"]): FolderError {
  return new FolderError(
    `data folder ${path}: in use by another broker (${describe(holder)}); stop it, or choose another folder with --data`,
  );
}

/** Undefined when somebody else has it. */
async function tryLock(path: string): Promise<FolderLock | undefined> {
  const opened: FileHandle[] = [];
  const close = async (): Promise<undefined> => {
    for (const handle of opened.splice(0)) await handle.close();
    return undefined;
  };
  try {
    const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    opened.push(folder);
    if (!(await lockIfPossible(folder))) return await close();
    const file = await open(join(path, lockFile), constants.O_RDWR | constants.O_CREAT, fileMode);
    opened.push(file);
    if (!(await tryFlock(file.fd)) || !(await areAt(path, folder, file))) return await close();
    refuseOlder(path, await file.readFile("utf8"));
    await note(file);
    return {
      async release() {
        if (await isAt(join(path, lockFile), file)) await unlink(join(path, lockFile)).catch(() => {});
        await close();
      },
    };
  } catch (cause) {
    await close();
    if (!(cause instanceof FlockError)) throw cause;
    throw new FolderError(
      `data folder ${path}: it cannot be locked, and two brokers on one folder would destroy it: ${cause.message}; ` +
        "choose a local disk with --data, on a platform that koffi has a binary for",
      { cause },
    );
  }
}

/** False when somebody else has it. Where folders cannot be locked the file's lock has to do. */
async function lockIfPossible(folder: FileHandle): Promise<boolean> {
  try {
    return await tryFlock(folder.fd);
  } catch (error) {
    if (error instanceof FlockError && error.isOfFileSystem) return true;
    throw error;
  }
}

/** Whether what was locked is what the path leads to: it may have been replaced in between. */
async function areAt(path: string, folder: FileHandle, file: FileHandle): Promise<boolean> {
  return (await isAt(path, folder)) && (await isAt(join(path, lockFile), file));
}

async function isAt(path: string, handle: FileHandle): Promise<boolean> {
  const [there, here] = await Promise.all([stat(path).catch(() => undefined), handle.stat()]);
  return there?.dev === here.dev && there.ino === here.ino;
}

/** A process of an older version that is alive has the folder without the kernel's knowing. @throws FolderError */
function refuseOlder(path: string, text: string): void {
  const holder = parseHolder(text);
  if (holder === undefined || !isOlderAndAlive(holder)) return;
  throw new FolderError(
    `data folder ${path}: in use by another broker (process ${holder.pid}, of an older version); stop it, or choose another folder with --data`,
  );
}

/** For people: it locks nothing, and where there is no room for it, it is left out. */
async function note(file: FileHandle): Promise<void> {
  const me: Holder = { pid: process.pid, started: startOf(process.pid), host: hostname() };
  const text = Buffer.from(JSON.stringify(me));
  try {
    await file.truncate();
    await file.write(text, 0, text.length, 0);
  } catch {
    await file.truncate().catch(() => {});
  }
}

/** Who has the folder; undefined when nobody has. @throws FlockError */
export async function findHolder(path: string): Promise<FolderReport["lockedBy"]> {
  const places = [
    { path, flags: constants.O_RDONLY | constants.O_DIRECTORY, isFolder: true },
    { path: join(path, lockFile), flags: constants.O_RDONLY, isFolder: false },
  ];
  const holder = await readHolder(path);
  for (const { path: place, flags, isFolder } of places) {
    const handle = await open(place, flags).catch(() => undefined);
    if (handle === undefined) continue;
    try {
      if (!(await tryFlock(handle.fd, { shared: true }))) return holder ?? {};
    } catch (error) {
      if (!isFolder || !(error instanceof FlockError && error.isOfFileSystem)) throw error;
    } finally {
      await handle.close();
    }
  }
  return holder !== undefined && isOlderAndAlive(holder) ? { pid: holder.pid } : undefined;
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
  const lockedBy = await findHolder(path);
  const openness = await opennessOf(path);
  return {
    exists,
    writable,
    bytes,
    ...(lockedBy === undefined ? {} : { lockedBy }),
    ...(openness === undefined ? {} : { openness }),
  };
}

/** Who it is, as far as that is known. */
function describe(holder: FolderReport["lockedBy"]): string {
  if (holder?.pid === undefined) return "it does not say which process";
  const { pid, host } = holder;
  return `process ${pid}${host === undefined || host === hostname() ? "" : ` on ${host}`}`;
}

async function readHolder(path: string): Promise<Holder | undefined> {
  return parseHolder(await readFile(join(path, lockFile), "utf8").catch(() => ""));
}

function parseHolder(text: string): Holder | undefined {
  try {
    const { pid, started, host } = JSON.parse(text) as Partial<Record<keyof Holder, unknown>>;
    if (!Number.isSafeInteger(pid) || typeof started !== "string") return undefined;
    return { pid: pid as number, started, ...(typeof host === "string" ? { host } : {}) };
  } catch {
    return undefined;
  }
}

function isOlderAndAlive({ pid, started, host }: Holder): boolean {
  return host === undefined && started !== "" && startOf(pid) === started;
}

/** A process's start time as the kernel counts it; empty where there is no such process, or no /proc. */
function startOf(pid: number): string {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8");
    return fields.slice(fields.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}
