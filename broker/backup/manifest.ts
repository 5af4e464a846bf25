/* Manifest: what a backup says of itself, in `backup.json` beside its `data.mdb`. It is written last: a folder that has one holds a
 * whole backup. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

import { FolderError, type StoreReport, formatVersion } from "../state/index.ts";

export const manifestFile = "backup.json";
/** The version of this file's own layout. */
export const manifestVersion = 1;

export interface Manifest {
  backup: typeof manifestVersion;
  /** The store's format, and the version of the broker that made the backup. */
  format: number;
  version: string;
  epoch: string;
  /** Offsets of the oldest entry gone and of the newest. */
  floor: number;
  head: number;
  /** It is a node's of a cluster. */
  isOfCluster: boolean;
  /** Of `data.mdb`. */
  bytes: number;
  sha256: string;
  /** When it was made, in ms since the Unix epoch. */
  at: number;
}

/** Undefined when there is none: then it is no backup, but a copy of a data folder. @throws FolderError when it cannot be gone by */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const file = join(folder, manifestFile);
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new FolderError(`${file}: cannot be read (${error.message})`, { cause: error });
  });
  if (text === undefined) return undefined;
  const found = parse(text);
  if (found === undefined || typeof found.sha256 !== "string" || typeof found.bytes !== "number")
    throw new FolderError(`${file}: damaged; take another backup`);
  if (found.backup !== manifestVersion || found.format !== formatVersion) {
    throw new FolderError(
      `${file}: a backup of version ${found.backup} with a store of format ${found.format}, made by whalesong ${found.version}; ` +
        `this broker reads version ${manifestVersion} with format ${formatVersion}: restore it with the broker that made it`,
    );
  }
  return found;
}

function parse(text: string): Manifest | undefined {
  try {
    const found = JSON.parse(text) as Manifest | null;
    return typeof found === "object" && found !== null ? found : undefined;
  } catch {
    return undefined;
  }
}

/** Whether what a store says of itself is what the backup says of it. */
export function isOf(store: StoreReport, { epoch, head, floor }: Manifest): boolean {
  return store.epoch === epoch && store.head === head && store.floor === floor;
}

/** SHA-256 of a file, in hexadecimal. */
export async function hashOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}
