/* Inspect: looks into a store without changing it: for `doctor`, and before a broker opens one. */

import { open } from "lmdb";

import { ownersAlone } from "./environment.ts";
import { FolderError } from "./folder.ts";
import { type ClusterMark, type Meta, formatVersion, readApplied, readMeta } from "./meta.ts";
import { refuseTakenReaderId } from "./reader-id.ts";
import { checkStoreFile } from "./store-file.ts";

export interface StoreReport {
  /** The version of its layouts. */
  format: number;
  /** The version this broker reads and writes. */
  formatWanted: number;
  epoch: string;
  /** Offsets of the oldest entry gone and of the newest. */
  floor: number;
  head: number;
  /** Of a node of a cluster: how far it has applied the cluster's log. */
  cluster: ClusterMark | undefined;
}

/** What the store in the folder `path` says of itself; undefined when there is none yet, or it was never written to. Opens it
 *  read-only, beside a broker that may be running. @throws FolderError when its file is damaged, ReaderIdError */
export async function inspectStore(path: string): Promise<StoreReport | undefined> {
  if (!(await checkStoreFile(path))) return undefined;
  await refuseTakenReaderId(path);
  try {
    return await readReport(path);
  } catch (cause) {
    throw new FolderError(
      `data folder ${path}: its store is damaged (${(cause as Error).message}); restore a backup, or choose another folder with --data`,
      { cause },
    );
  }
}

async function readReport(path: string): Promise<StoreReport | undefined> {
  const root = open<Buffer, Buffer>({
    ...ownersAlone,
    path,
    noSubdir: false,
    readOnly: true,
    maxDbs: 64,
    encoding: "binary",
    keyEncoding: "binary",
  });
  try {
    const table = root.openDB<Buffer, Buffer>("meta", { encoding: "binary", keyEncoding: "binary" });
    if (table === undefined) return undefined;
    const meta: Meta | undefined = readMeta(table);
    if (meta === undefined) return undefined;
    const epoch = meta.epochs.at(-1)?.name ?? "";
    return {
      format: meta.format,
      formatWanted: formatVersion,
      epoch,
      floor: meta.floor,
      head: readApplied(table),
      cluster: meta.cluster,
    };
  } finally {
    await root.close();
  }
}
