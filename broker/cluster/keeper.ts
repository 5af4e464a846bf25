/* Keeper: what one node of a cluster does for all, while it has the lease: retention, snapshots, and removing what of the log two
 * snapshots cover.
 *
 * Each node has one, and it does nothing but seek the lease while another node holds that. A node that cannot make a snapshot, for want of
 * room say, gives the lease back and leaves it to others for a while. */

import { rm, statfs } from "node:fs/promises";
import { join } from "node:path";

import type { Logger } from "../logger.ts";
import type { Offset, State } from "../state/index.ts";
import { pause } from "./connection.ts";
import { reaches } from "./decision.ts";
import type { Lease } from "./lease.ts";
import type { Snapshot, Snapshots } from "./snapshots.ts";
import type { LogStream, StreamLook } from "./stream.ts";

/** How often to look whether anything is due, in ms. */
const lookMs = 1_000;
/** How often to look which snapshots there are, in ms: others than the keeper do not change them. */
const listMs = 60_000;
/** The log's messages past which a snapshot is due though none of them changed anything: nodes ask whether the log is alive. */
const mostIdleMessages = 100_000;
/** How long a node that could not make a snapshot leaves the lease to others, in ms. */
const restMs = 60_000;

export interface KeeperOptions {
  data: string;
  node: string;
  /** A snapshot is due after this long, in ms, if anything was applied since, */
  everyMs: number;
  /** and after so many commands. */
  commands: number;
  /** Bytes that a copy of the store must leave free on the disk. */
  minFreeBytes: number;
  /** Moves the floor where that is due. */
  trim: () => Promise<void>;
}

export interface KeeperParts {
  state: State;
  lease: Lease;
  stream: LogStream;
  snapshots: Snapshots;
  logger: Logger;
}

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #parts: KeeperParts;
  readonly #closing = new AbortController();
  /** Those there are, as this tenure knows. */
  #known: { of: AbortSignal; at: number; snapshots: Snapshot[] } | undefined;
  /** The newest of them, also while the list is made anew. */
  #newest: Snapshot | undefined;
  /** The one that was the newest when it was looked last, and since when, as performance.now(). */
  #seen: { name: string; since: number } | undefined;
  readonly #running: Promise<unknown>;

  /** Begins to look. */
  constructor(options: KeeperOptions, parts: KeeperParts) {
    this.#options = options;
    this.#parts = parts;
    this.#running = Promise.all([
      this.#every(lookMs, () => this.#keep()),
      this.#every(lookMs, () => this.#trim()),
    ]);
  }

  /** Whether this node is the cluster's keeper now. */
  get isKeeper(): boolean {
    return this.#parts.lease.isHeld;
  }

  /** The newest snapshot that there is, as the keeper knows; undefined on other nodes. */
  get newest(): Snapshot | undefined {
    return this.isKeeper ? this.#newest : undefined;
  }

  /** Ends what is under way, and gives the lease back. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
    await this.#parts.lease.close();
  }

  async #every(ms: number, work: () => Promise<void>): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        if (this.isKeeper) await work();
      } catch (error) {
        if (!signal.aborted)
          this.#parts.logger.warn({ err: error }, "the keeper's work failed; it is tried again");
      }
      await pause(ms, signal).catch(() => {});
    }
  }

  async #trim(): Promise<void> {
    await this.#options.trim();
  }

  async #keep(): Promise<void> {
    const { lease, state, stream, logger } = this.#parts;
    const { tenure } = lease;
    const log = await stream.look();
    const mark = state.meta.cluster;
    // A log that is another than this node's is none of its business.
    if (tenure === undefined || log === undefined || log.created !== mark?.created || log.lastSeq < mark.seq)
      return;
    const [newest] = await this.#list(tenure, log);
    const why = due({
      log,
      newest,
      seq: mark.seq,
      offset: state.applied(),
      now: this.#nowFor(newest),
      ...this.#options,
    });
    if (why === undefined) return;
    logger.info({ why }, "a snapshot is due");
    try {
      await this.#make(AbortSignal.any([tenure, this.#closing.signal]));
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      logger.error({ err: error }, "a snapshot could not be made; it is left to another node for a while");
      await lease.rest(restMs);
      return;
    }
    await this.#tidy(tenure, log);
  }

  /** What a snapshot's age counts to, in ms since the Unix epoch. One is as old as it has been known here at least, whatever clocks say. */
  #nowFor(snapshot: Snapshot | undefined): number {
    if (snapshot === undefined) return Date.now();
    const now = performance.now();
    if (this.#seen?.name !== snapshot.name) this.#seen = { name: snapshot.name, since: now };
    return Math.max(Date.now(), snapshot.at + now - this.#seen.since);
  }

  async #list(tenure: AbortSignal, { created }: StreamLook): Promise<Snapshot[]> {
    const known = this.#known;
    if (known?.of === tenure && performance.now() - known.at < listMs) return known.snapshots;
    const snapshots = await this.#parts.snapshots.listOf(created);
    this.#known = { of: tenure, at: performance.now(), snapshots };
    this.#newest = snapshots[0];
    return snapshots;
  }

  async #make(signal: AbortSignal): Promise<void> {
    const { data, node, minFreeBytes } = this.#options;
    const { state, snapshots } = this.#parts;
    const outgoing = join(data, "outgoing");
    const { bavail, bsize } = await statfs(data);
    const freeBytes = bavail * bsize;
    const { usedBytes } = state.size();
    if (freeBytes - usedBytes < minFreeBytes) {
      throw new Error(
        `a copy of the store takes ${usedBytes} bytes; the disk has ${freeBytes} free, and the broker leaves ${minFreeBytes}`,
      );
    }
    try {
      await rm(outgoing, { recursive: true, force: true });
      await state.copyTo(outgoing);
      signal.throwIfAborted();
      await snapshots.upload(outgoing, { node, signal });
    } finally {
      await rm(outgoing, { recursive: true, force: true });
    }
  }

  /** The log is kept from the older snapshot on, should the newer turn out to be damaged. */
  async #tidy(tenure: AbortSignal, log: StreamLook): Promise<void> {
    const { snapshots, stream, logger } = this.#parts;
    tenure.throwIfAborted();
    const [newest, older] = await snapshots.prune(log.created);
    this.#known = undefined;
    if (newest === undefined || older === undefined || older.seq < log.firstSeq) return;
    tenure.throwIfAborted();
    await stream.purge(older.seq);
    logger.info({ upTo: older.seq }, "what two snapshots cover is removed from the log");
  }
}

export interface Due {
  log: StreamLook;
  newest: Snapshot | undefined;
  /** What this node has applied. */
  seq: number;
  offset: Offset;
  now: number;
  everyMs: number;
  commands: number;
}

/** Why a snapshot is due; undefined when none is. */
export function due({ log, newest, seq, offset, now, everyMs, commands }: Due): string | undefined {
  if (newest === undefined) return "there is none";
  if (seq <= newest.seq) return undefined;
  if (!reaches(log, newest.seq)) return "the log no longer goes on from the newest";
  const since = offset - newest.offset;
  if (since >= commands) return `${since} commands came since the newest`;
  if (since > 0 && now - newest.at >= everyMs)
    return `the newest is ${Math.round((now - newest.at) / 1_000)} s old`;
  const messages = seq - newest.seq;
  if (since === 0 && messages >= mostIdleMessages) return `${messages} messages came since the newest`;
  return undefined;
}
