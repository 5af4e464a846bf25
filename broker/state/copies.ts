/* Copies: a store copied while a broker may have it open, read whole, and made ready to be opened elsewhere. What a backup and a
 * restore do with the store itself. */

import { rm } from "node:fs/promises";
import { join } from "node:path";

import { Environment } from "./environment.ts";
import { FolderError, readersFile } from "./folder.ts";
import { type StoreReport, inspectStore } from "./inspect.ts";
import { type Meta, formatVersion, readApplied, readMeta, writeMeta } from "./meta.ts";
import { newEpochName } from "./epoch-name.ts";
import { newOpening } from "./opening.ts";
import { refuseTakenReaderId } from "./reader-id.ts";

/** What was found when every row was read. */
export interface Walk {
  tables: number;
  rows: number;
}

/**
 * Copies the newest commit of the store in `from` into the empty folder `to`, without free pages. What the copy says of itself is changed in
 * two ways: put back by hand it begins a new epoch (opening.ts), and all in it is on disk.
 * @throws FolderError, ReaderIdError
 */
export async function copyStore(from: string, to: string): Promise<void> {
  await refuseTakenReaderId(from);
  const environment = new Environment(from, { readOnly: true });
  try {
    await environment.copyTo(to);
  } finally {
    await environment.close();
  }
  await changeMeta(to, (meta) => ({ ...meta, isAnsweringEarly: false, opening: newOpening(undefined) }));
}

/** Names the next opening of a store that nobody has open, and begins a new epoch where one is due. Returns what it says of itself then. */
export async function readyStore(
  path: string,
  { isNewEpoch }: { isNewEpoch: boolean },
): Promise<{ store: StoreReport; opening: string }> {
  const opening = newOpening(undefined);
  await changeMeta(path, (meta, head) => ({
    ...meta,
    opening,
    epochs: isNewEpoch ? [...meta.epochs, { name: newEpochName(), after: head }] : meta.epochs,
  }));
  return { store: (await inspectStore(path))!, opening: opening.name };
}

/** Reads every row. @throws FolderError when there are not as many as the store says */
export async function walkStore(path: string): Promise<Walk> {
  const store = await inspectStore(path);
  if (store === undefined) throw new FolderError(`${path}: there is no store`);
  if (store.format !== formatVersion) {
    throw new FolderError(
      `${path}: its format is version ${store.format}, this broker reads version ${formatVersion}; use the broker that wrote it`,
    );
  }
  const environment = new Environment(path, { readOnly: true });
  try {
    const { tables } = environment.size();
    let rows = 0;
    for (const [name, table] of Object.entries(environment.tables)) {
      let found = 0;
      for (const { key, value } of table.getRange({})) found += key.length + value.length > 0 ? 1 : 0;
      const told = tables[name]!.entries;
      if (found !== told)
        throw new FolderError(`${path}: its store is damaged: table ${name} has ${found} rows of ${told}`);
      rows += found;
    }
    return { tables: Object.keys(tables).length, rows };
  } finally {
    await environment.close();
  }
}

async function changeMeta(path: string, change: (meta: Meta, head: number) => Meta): Promise<void> {
  const environment = new Environment(path);
  try {
    const { tables } = environment;
    const meta = readMeta(tables.meta);
    if (meta === undefined) throw new FolderError(`${path}: nothing was written to its store yet`);
    const changed = change(meta, readApplied(tables.meta));
    await environment.transact(() => writeMeta(tables.meta, changed)).flushed;
  } finally {
    await environment.close();
    await rm(join(path, readersFile), { force: true });
  }
}
