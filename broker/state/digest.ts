/* Digest: one hash of all that the commands up to an offset have made of a store. Two nodes that applied the same commands have
 * the same, however these were cut into batches; a byte that differs anywhere makes another.
 *
 *   SHA-256 of   epochs, floor, next user, last time           as JSON
 *                for each table, in the order of their names   name | 0 | (key length u32 | key | value length u32 | value)… | 2³²−1
 *
 * Left out is what a node has to itself: cursors, which are no commands and travel by themselves, and how far it has come in a
 * cluster's log. Reads one snapshot, beside a broker that may be running; holds the event loop while it does. */

import { createHash } from "node:crypto";

import type { Offset } from "./bytes.ts";
import { Environment, type Table, type Tables } from "./environment.ts";
import { FolderError } from "./folder.ts";
import { inspectStore } from "./inspect.ts";
import { readApplied, readMeta } from "./meta.ts";

export interface StoreDigest {
  epoch: string;
  /** The offset of the last command applied. */
  offset: Offset;
  /** SHA-256, in hexadecimal. */
  digest: string;
}

/** The digest of the store in the folder `path`; undefined when there is none. @throws FolderError when it cannot be read */
export async function digestStore(path: string): Promise<StoreDigest | undefined> {
  const store = await inspectStore(path);
  if (store === undefined) return undefined;
  if (store.format !== store.formatWanted) {
    throw new FolderError(
      `data folder ${path}: its format is version ${store.format}, this broker reads version ${store.formatWanted}`,
    );
  }
  const environment = new Environment(path, { readOnly: true });
  try {
    return digestOf(environment.tables);
  } finally {
    await environment.close();
  }
}

/** Tables that a node has to itself, that are told apart, or that are counted from others once they are needed. */
const ownTables: ReadonlySet<string> = new Set(["meta", "cursors", "followCounts"]);

/** In one synchronous stretch, so that all is read from one snapshot. */
function digestOf(tables: Tables): StoreDigest | undefined {
  const meta = readMeta(tables.meta);
  if (meta === undefined) return undefined;
  const { epochs, floor, nextUser, lastAt } = meta;
  const hash = new RowHash();
  hash.addText(JSON.stringify({ epochs, floor, nextUser, lastAt }));
  for (const [name, table] of Object.entries(tables).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (ownTables.has(name)) continue;
    hash.addText(name);
    hash.addRows(table);
  }
  return { epoch: epochs.at(-1)!.name, offset: readApplied(tables.meta), digest: hash.end() };
}

const chunkBytes = 65_536;
/** Stands where the next key's length would. */
const endOfTable = 0xffff_ffff;

/** Gathers small rows, since a call of the hash costs more than hashing one. */
class RowHash {
  readonly #hash = createHash("sha256");
  readonly #chunk = Buffer.allocUnsafe(chunkBytes);
  #filled = 0;

  addText(text: string): void {
    this.#add(Buffer.from(`${text}\u0000`));
  }

  addRows(table: Table): void {
    for (const { key, value } of table.getRange({})) {
      this.#addLength(key.length);
      this.#add(key);
      this.#addLength(value.length);
      this.#add(value);
    }
    this.#addLength(endOfTable);
  }

  end(): string {
    this.#flush();
    return this.#hash.digest("hex");
  }

  #addLength(length: number): void {
    if (this.#filled + 4 > chunkBytes) this.#flush();
    this.#filled = this.#chunk.writeUInt32BE(length, this.#filled);
  }

  #add(bytes: Uint8Array): void {
    if (this.#filled + bytes.length > chunkBytes) this.#flush();
    if (bytes.length > chunkBytes) {
      this.#hash.update(bytes);
      return;
    }
    this.#chunk.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  #flush(): void {
    this.#hash.update(this.#chunk.subarray(0, this.#filled));
    this.#filled = 0;
  }
}
