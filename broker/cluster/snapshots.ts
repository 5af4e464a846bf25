/* Snapshots: whole copies of the store in NATS, from which a node begins that has none, or that was away for too long.
 *
 *   DATA/outgoing/   a copy of the store on its way to NATS
 *   DATA/incoming/   a snapshot on its way from NATS; once it is whole and checked it takes the store's place
 *
 * Each is one object. It says which log it is of and where in it, so that a node that has loaded it goes on from there. One
 * that is not whole is not seen, and `prune` removes it. */

import { mkdir, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import type { NatsConnection } from "nats";

import type { Logger } from "../logger.ts";
import {
  FolderError,
  type Offset,
  fileMode,
  folderMode,
  inspectStore,
  lockFolder,
  storeFile,
  syncFolder,
} from "../state/index.ts";
import { packageVersion } from "../version.ts";
import type { ClusterNames } from "./names.ts";
import { type ObjectInfo, Objects } from "./objects.ts";

/** Snapshots kept: should the newest turn out to be damaged, there is another. */
const kept = 2;
/** How often to say how far a long copy is, in ms. */
const progressMs = 5_000;
const metadataKey = "snapshot";

/** What a snapshot says of itself. */
interface Facts {
  /** Which log it is of, */
  created: string;
  /** up to which of its messages, 0 for none, */
  seq: number;
  /** and when that one was stored. */
  time: number;
  epoch: string;
  /** The offset of the last command in it. */
  offset: Offset;
  /** The version of the store's layouts. */
  format: number;
  /** Who made it, and when, in ms since the Unix epoch. */
  node: string;
  version: string;
  at: number;
}

export interface Snapshot extends Facts {
  name: string;
  bytes: number;
  object: ObjectInfo;
}

export interface SnapshotsOptions {
  /** NATS servers that keep a copy. */
  replicas: number;
  logger: Logger;
}

export class Snapshots {
  readonly #objects: Objects;
  readonly #replicas: number;
  readonly #logger: Logger;

  static async of(
    connection: NatsConnection,
    names: ClusterNames,
    options: SnapshotsOptions,
  ): Promise<Snapshots> {
    return new Snapshots(await Objects.of(connection, names.snapshots), options);
  }

  private constructor(objects: Objects, { replicas, logger }: SnapshotsOptions) {
    this.#objects = objects;
    this.#replicas = replicas;
    this.#logger = logger;
  }

  /** Those that are whole, the newest first; of all logs that there were. */
  async list(): Promise<Snapshot[]> {
    const objects = await this.#objects.list();
    return objects.flatMap((object) => toSnapshot(object) ?? []).sort((a, b) => b.seq - a.seq || b.at - a.at);
  }

  /** Those of the log that was created then, the newest first. */
  async listOf(created: string): Promise<Snapshot[]> {
    return (await this.list()).filter((snapshot) => snapshot.created === created);
  }

  /** Stores the copy of a store that is in `folder`. */
  async upload(folder: string, { node, signal }: { node: string; signal: AbortSignal }): Promise<Snapshot> {
    const store = await inspectStore(folder);
    if (store?.cluster === undefined) throw new FolderError(`${folder} holds no copy of a cluster's store`);
    const { created, seq, time } = store.cluster;
    const { epoch, head: offset, format } = store;
    const facts: Facts = {
      created,
      seq,
      time,
      epoch,
      offset,
      format,
      node,
      version: packageVersion(),
      at: Date.now(),
    };
    const name = `${String(seq).padStart(16, "0")}-${facts.at}`;
    await this.#objects.create(this.#replicas);
    await this.#objects.put({
      name,
      file: join(folder, storeFile),
      metadata: { [metadataKey]: JSON.stringify(facts) },
      signal,
      onProgress: this.#progress("a snapshot is on its way to NATS"),
    });
    const snapshot = (await this.list()).find((one) => one.name === name);
    if (snapshot === undefined) throw new Error(`snapshot ${name} is not whole after it was stored`);
    this.#logger.info({ seq, offset, bytes: snapshot.bytes }, "a snapshot is stored");
    return snapshot;
  }

  /** Puts a snapshot in the place of the store in the data folder `path`, which nobody has open. Until the last moment what was there
   *  stays as it is. @throws FolderError, or ObjectError when the snapshot is damaged */
  async load(snapshot: Snapshot, path: string, signal: AbortSignal): Promise<void> {
    const lock = await lockFolder(path);
    const incoming = join(path, "incoming");
    try {
      await rm(incoming, { recursive: true, force: true });
      await mkdir(incoming, folderMode);
      await this.#fetch(snapshot, join(incoming, storeFile), signal);
      await checkLoaded(snapshot, incoming);
      // LMDB's table of readers is of the store that goes.
      await rm(join(path, "lock.mdb"), { force: true });
      await rename(join(incoming, storeFile), join(path, storeFile));
      await syncFolder(path);
      const { seq, offset, bytes } = snapshot;
      this.#logger.info({ seq, offset, bytes }, "a snapshot is loaded");
    } finally {
      await rm(incoming, { recursive: true, force: true });
      await lock.release();
    }
  }

  /** Keeps the newest two of the log created then, and removes all else. Only the keeper may. Returns those kept. */
  async prune(created: string): Promise<Snapshot[]> {
    const all = await this.list();
    const keep = all.filter((snapshot) => snapshot.created === created).slice(0, kept);
    // Those of an older log are the last that is left of it, until this one has its own.
    const old = keep.length < kept ? all.filter((one) => one.created === created) : all;
    for (const snapshot of old) if (!keep.includes(snapshot)) await this.#objects.remove(snapshot.object);
    const swept = await this.#objects.sweep();
    if (swept > 0) this.#logger.info({ pieces: swept }, "what was left of broken snapshots is removed");
    return keep;
  }

  async #fetch({ object }: Snapshot, file: string, signal: AbortSignal): Promise<void> {
    const onProgress = this.#progress("a snapshot is on its way from NATS", object.size);
    const target = await open(file, "wx", fileMode);
    try {
      let bytes = 0;
      for await (const chunk of this.#objects.read(object, signal)) {
        await target.writeFile(chunk);
        bytes += chunk.length;
        onProgress(bytes);
      }
      await target.sync();
    } finally {
      await target.close();
    }
  }

  #progress(text: string, of?: number): (bytes: number) => void {
    let saidAt = performance.now();
    return (bytes) => {
      if (performance.now() - saidAt < progressMs) return;
      saidAt = performance.now();
      this.#logger.info({ bytes, of }, text);
    };
  }
}

/** Undefined for an object that is no snapshot. */
function toSnapshot(object: ObjectInfo): Snapshot | undefined {
  const text = object.metadata?.[metadataKey];
  if (text === undefined) return undefined;
  try {
    return { ...(JSON.parse(text) as Facts), name: object.name, bytes: object.size, object };
  } catch {
    return undefined;
  }
}

/** What came is what was announced. */
async function checkLoaded({ name, created, seq, offset }: Snapshot, folder: string): Promise<void> {
  const store = await inspectStore(folder);
  if (store?.cluster?.created === created && store.cluster.seq === seq && store.head === offset) return;
  throw new FolderError(
    `snapshot ${name} holds ${store === undefined ? "no store" : `offset ${store.head}`}, not offset ${offset}`,
  );
}
