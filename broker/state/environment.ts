/* Environment: the LMDB files of one broker, and how a transaction becomes durable.
 *
 * `lmdb` is imported here, and in inspect.ts, which only reads. One process writes; its writes are grouped by the log into transactions.
 *
 *   transact(work) ── work runs on this thread, inside the write transaction
 *        │                 a throw undoes all of it
 *        ├─ committed ──── readers see it; it may still be lost by a power cut
 *        └─ flushed ────── an fdatasync has returned since: it is durable
 *
 * Reads outside of `transact` use a snapshot that lasts until the event loop turns or a commit resets it; all reads of one
 * synchronous stretch of code see the same state. */

import { statfsSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { constants } from "node:os";
import { join } from "node:path";

import { ABORT, type Database, type RootDatabase, open } from "lmdb";

import { fileMode, storeFile } from "./folder.ts";

export type Table = Database<Buffer, Buffer>;

/** The tables, and which file draws the layout of their keys and values. */
const tableNames = [
  "meta", // meta.ts
  "handles", // users.ts
  "users", // users.ts
  "unclaimed", // unclaimed.ts
  "keyHolders", // unclaimed.ts
  "log", // entries.ts
  "topicHeads", // topics.ts
  "topics", // topics.ts
  "follows", // follows.ts
  "followers", // follows.ts
  "followCounts", // follows.ts
  "reposts", // reposts.ts
  "publishKeys", // publish-keys.ts
  "publishKeysByChunk", // publish-keys.ts
  "cursors", // cursors.ts
] as const;

export type Tables = { readonly [K in (typeof tableNames)[number]]: Table };

/** Sizes of the store, in bytes of the LMDB file. */
export interface StoreSize {
  /** Pages in use. */
  usedBytes: number;
  /** The file. */
  fileBytes: number;
  /** Pages in use by table. */
  tables: Record<string, { entries: number; bytes: number }>;
}

export interface Transaction<T> {
  /** What `work` returned, once the transaction is committed. Rejects when nothing of it was. */
  readonly committed: Promise<T>;
  /** Settles after `committed`, once the commit is on disk. */
  readonly flushed: Promise<void>;
}

interface Stats {
  pageSize: number;
  treeBranchPageCount: number;
  treeLeafPageCount: number;
  overflowPages: number;
  entryCount: number;
  mapSize: number;
  lastPageNumber: number;
  freePageCount?: number;
  free?: { entryCount: number };
}

/** An option of lmdb that its types do not have: the mode of files that it makes. */
export const ownersAlone: object = { permissionsMode: fileMode };

export class Environment {
  readonly tables: Tables;
  readonly #path: string;
  readonly #root: RootDatabase<Buffer, Buffer>;
  /** LMDB must not be closed under a copy. */
  #copying: Promise<void> = Promise.resolve();

  /** With `readOnly` the store of another process, which writes it meanwhile. */
  constructor(path: string, { readOnly = false } = {}) {
    this.#path = path;
    this.#root = open<Buffer, Buffer>({
      ...ownersAlone,
      path,
      noSubdir: false, // a folder, also when its name holds a dot
      readOnly,
      maxDbs: 64,
      maxReaders: 256,
      eventTurnBatching: false, // the log groups its writes itself
      encoding: "binary",
      keyEncoding: "binary",
    });
    const tables: Record<string, Table> = {};
    for (const name of tableNames) {
      // A store of before there was this table has none while it is only read.
      const table: Table | undefined = this.#root.openDB<Buffer, Buffer>(name, {
        encoding: "binary",
        keyEncoding: "binary",
      });
      tables[name] = table ?? noTable;
    }
    this.tables = tables as Tables;
  }

  /** Runs `work` in one write transaction. Transactions take effect in the order of the calls. */
  transact<T>(work: () => T): Transaction<T> {
    let failure: { error: unknown } | undefined;
    // A child transaction is what lmdb can undo: a throw from `transaction` itself would keep the writes made so far.
    const committing = this.#root.childTransaction((): T | typeof ABORT => {
      try {
        return work();
      } catch (error) {
        failure = { error };
        return ABORT;
      }
    });
    const committed = committing.then(
      (result) => {
        if (failure !== undefined) throw failure.error;
        return result as T;
      },
      async (error: unknown) => {
        throw named(await commitError(error), this.#path);
      },
    );
    // `flushed` names the transaction just enqueued, so it must be taken now.
    const flushing = new Promise<void>((resolve, reject) => {
      this.#root.flushed.then(() => resolve(), reject);
    });
    const flushed = committed.then(() => flushing);
    flushing.catch(() => {}); // a failed commit is told by `committed`
    flushed.catch(() => {});
    return { committed, flushed };
  }

  /** Takes a fresh snapshot for the reads that follow. */
  refresh(): void {
    this.#root.resetReadTxn();
  }

  /** Writes the newest commit, without free pages, into a folder in which there is no store. Work goes on meanwhile; the pages that
   *  it frees are not used again until the copy is done. */
  copyTo(folder: string): Promise<void> {
    // LMDB makes it readable to whom the umask lets: meanwhile the folder is what keeps others out.
    const copying = this.#root.backup(folder, true).then(() => chmod(join(folder, storeFile), fileMode));
    this.#copying = Promise.allSettled([this.#copying, copying]).then(() => {});
    return copying;
  }

  size(): StoreSize {
    const tables: StoreSize["tables"] = {};
    const root = this.#root.getStats() as Stats;
    for (const name of tableNames) {
      const stats = this.tables[name].getStats() as Stats;
      const pages = stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages;
      tables[name] = { entries: stats.entryCount, bytes: pages * stats.pageSize };
    }
    const usedBytes = Object.values(tables).reduce((sum, table) => sum + table.bytes, 0);
    return { usedBytes, fileBytes: (root.lastPageNumber + 1) * root.pageSize, tables };
  }

  /** Frees what processes that died while they read keep from being reused. */
  forgetDeadReaders(): void {
    this.#root.readerCheck();
  }

  /** The process ids of those that LMDB counts as readers. */
  readers(): string[] {
    return this.#root
      .readerList()
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/)[0]!)
      .filter((pid) => pid !== "");
  }

  async close(): Promise<void> {
    await this.#copying;
    await this.#root.close();
  }
}

/** Stands for a table without rows, for those who read. */
const noTable = {
  get: () => undefined,
  getRange: () => [],
  getKeys: () => [],
  getKeysCount: () => 0,
  getStats: () => ({
    pageSize: 0,
    treeBranchPageCount: 0,
    treeLeafPageCount: 0,
    overflowPages: 0,
    entryCount: 0,
  }),
} as unknown as Table;

const noOverwrite = { noOverwrite: true };

/** Puts `value` under `key` unless there is one already; whether it did. Within a transaction. */
export function putIfNew(table: Table, key: Buffer, value: Buffer): boolean {
  // A boolean, as lmdb's documentation has it; its types say void.
  return table.putSync(key, value, noOverwrite) as unknown as boolean;
}

/** LMDB's own code for a map that cannot grow. */
const mapFull = -30_792;
const { EIO, ENOSPC, EDQUOT, EFBIG } = constants.errno;
/** With less room than this any commit may have failed for want of it. */
const leastWriteBytes = 1_048_576;
const noRoomCodes: ReadonlySet<unknown> = new Set([ENOSPC, EDQUOT, EFBIG, mapFull]);

/** Whether a transaction failed for want of room: on the disk, in its owner's quota, in the file, in the map. */
export function isForWantOfRoom(error: unknown): boolean {
  return error instanceof Error && noRoomCodes.has((error as { code?: unknown }).code);
}

/** A write for which there was room in part LMDB calls an I/O error. What it is shows by what room is left. */
function named(error: unknown, path: string): unknown {
  if ((error as { code?: unknown } | null)?.code !== EIO) return error;
  const { bavail, bsize } = statfsSync(path);
  if (bavail * bsize >= leastWriteBytes) return error;
  return Object.assign(new Error("No space left on device", { cause: error }), { code: ENOSPC });
}

/** lmdb rejects with a wrapper whose `commitError` is a promise that rejects with the cause. */
async function commitError(error: unknown): Promise<unknown> {
  const inner = (error as { commitError?: PromiseLike<unknown> } | null)?.commitError;
  if (inner === undefined) return error;
  try {
    await inner;
    return error;
  } catch (cause) {
    return cause;
  }
}
