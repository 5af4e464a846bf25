/* CursorKeeper: acknowledgements on their way to disk.
 *
 *   acknowledge, begin, seek ──┐                                 ┌──> whoever asked for an answer
 *                              ├──> gathered ──a few times a s──> disk
 *   merge (of other nodes) ────┘                                 └──> onWritten: what came from here, for other nodes
 *
 * Clients acknowledge often and a cursor is one small write, so acknowledgements gather here and go to LMDB together, a few
 * times a second. A crash loses the last moment's acknowledgements: their readers get a few entries again, none less. Who
 * asks for an answer gets it once the cursor is on disk.
 *
 * All cursors of a broker come through here, also those that other nodes of its cluster tell of: within a generation the
 * greatest offset stays, and the highest generation stays over all, whatever the order they come in. */

import type { Logger } from "../logger.ts";
import {
  type Cursor,
  type CursorError,
  type CursorKey,
  type Offset,
  RecentMap,
  type State,
  isLater,
  provisional,
} from "../state/index.ts";
import { Complaints } from "./complaints.ts";

/** How long acknowledgements gather, in ms, */
const gatherMs = 100;
/** and after they could not be written. */
const retryMs = 1_000;
/** Names remembered of cursors that cannot be written, */
const keptRefused = 1_000;
/** and of those confirmed. */
const keptConfirmed = 20_000;
/** Cursors kept in memory once they are written. */
const keptCursors = 100_000;
/** Cursors that wait to be written, past which no more are taken from other nodes. */
const maxGathered = 200_000;

/** Where sessions keep their cursors: the keeper itself, or a way to it. Calls take effect in their order. */
export interface Cursors {
  get(key: CursorKey): Cursor | undefined | Promise<Cursor | undefined>;
  /** The reader has finished with all up to `offset`. An older offset changes nothing, nor does another generation's. */
  acknowledge(key: CursorKey, offset: Offset, generation: number): void;
  /** Fixes a cursor that is not there yet at `offset`; changes nothing when it is. */
  begin(key: CursorKey, offset: Offset): void;
  /** Moves the cursor, back or forth, into a new generation. */
  seek(key: CursorKey, offset: Offset): void;
  /** Settles once all that was acknowledged and sought is on disk; rejects when it could not be written. A cursor that can never be
   *  written fails alone: it is for whoever names it that this rejects. */
  flush(key?: CursorKey): Promise<void>;
}

export interface CursorKeeperOptions {
  /** Hears of every failure to write. What could not be written is tried again. */
  onFailure: (error: unknown) => void;
  /** Hears of a cursor that cannot be written, whatever room there is: it is given up, and the others are written. Once for each. */
  onRefused?: (key: CursorKey, error: CursorError) => void;
  /** Hears of cursors that were moved here, once they are on disk. */
  onWritten?: (cursors: [CursorKey, Cursor][]) => void;
}

/** The cursors of a process that writes them. */
export interface KeptCursors extends Cursors {
  /** Since how long a cursor has waited to be written, in ms: a moment, while all is well. */
  readonly unwrittenMs: number;
  /** Cursors given up since they cannot be written, since the start. */
  readonly refused: number;
  close(): Promise<void>;
}

/** Says what goes wrong with cursors, once in a while each. */
export function cursorComplaints(
  logger: Pick<Logger, "error">,
): Required<Pick<CursorKeeperOptions, "onFailure" | "onRefused">> {
  const complaints = new Complaints();
  return {
    onFailure(error) {
      if (complaints.isDue("failure"))
        logger.error({ err: error }, "cursors could not be written; it is tried again every second");
    },
    onRefused(key, error) {
      if (complaints.isDue("refused"))
        logger.error({ cursor: key.slice(0, 200), err: error }, "a cursor cannot be written and is given up");
    },
  };
}

interface Gathered extends Cursor {
  /** Another node told of it. */
  isFromElsewhere: boolean;
}

export class CursorKeeper implements KeptCursors {
  readonly #state: State;
  readonly #options: CursorKeeperOptions;
  #gathered = new Map<CursorKey, Gathered>();
  /** Being written: still needed by readers until it is. */
  #writing = new Map<CursorKey, Gathered>();
  /** Written lately. Nobody else writes cursors, so these are the truth whatever snapshot a read of the tables would see. */
  readonly #kept = new RecentMap<CursorKey, Cursor>(keptCursors / 2);
  /** Provisional ones that were confirmed here, and not moved by another node since. */
  readonly #confirmed = new RecentMap<CursorKey, true>(keptConfirmed / 2);
  readonly #refused = new RecentMap<CursorKey, CursorError>(keptRefused / 2);
  #refusedCount = 0;
  #timer: NodeJS.Timeout | undefined;
  #written: Promise<void> = Promise.resolve();
  /** When the oldest was gathered that is not on disk, as `performance.now()` has it. */
  #gatheredAt: number | undefined;
  #writingAt: number | undefined;

  constructor(state: State, options: CursorKeeperOptions) {
    this.#state = state;
    this.#options = options;
  }

  get(key: CursorKey): Cursor | undefined {
    return (
      this.#gathered.get(key) ?? this.#writing.get(key) ?? this.#kept.get(key) ?? this.#state.cursors.get(key)
    );
  }

  acknowledge(key: CursorKey, offset: Offset, generation: number): void {
    const cursor = this.get(key);
    if (cursor === undefined) this.#gather(key, { offset, generation, isFromElsewhere: false });
    else if (offset > cursor.offset && this.#isOf(generation, cursor, key))
      this.#gather(key, { offset, generation: cursor.generation, isFromElsewhere: false });
  }

  /** `generation`: `provisional` where there may be a cursor that cannot be known of here. */
  begin(key: CursorKey, offset: Offset, generation = 0): void {
    if (this.get(key) === undefined) this.#gather(key, { offset, generation, isFromElsewhere: false });
  }

  /** There is no other cursor anywhere: a provisional one is as good as any from now on. */
  confirm(key: CursorKey): void {
    const cursor = this.get(key);
    if (cursor?.generation !== provisional) return;
    this.#confirmed.set(key, true);
    this.#gather(key, { offset: cursor.offset, generation: 0, isFromElsewhere: false });
  }

  /** Whether what is acknowledged in `generation` is of this very cursor: not of one from before a seek, or that another undid. */
  #isOf(generation: number, cursor: Cursor, key: CursorKey): boolean {
    if (generation === cursor.generation) return true;
    return generation === provisional && cursor.generation === 0 && this.#confirmed.get(key) === true;
  }

  seek(key: CursorKey, offset: Offset): void {
    const generation = Math.max(this.get(key)?.generation ?? 0, 0) + 1;
    this.#gather(key, { offset, generation, isFromElsewhere: false });
  }

  /** Another node tells of a cursor: the later one stays. False when too much waits to be written: tell it again. */
  merge(key: CursorKey, cursor: Cursor): boolean {
    if (!isLater(cursor, this.get(key))) return true;
    if (this.#gathered.size >= maxGathered) return false;
    this.#confirmed.delete(key);
    this.#gather(key, { ...cursor, isFromElsewhere: true });
    return true;
  }

  /** Those on disk that follow `key` in the order of the store; all of them when it is undefined. */
  after(key: CursorKey | undefined): Iterable<[CursorKey, Cursor]> {
    this.#state.refresh();
    return this.#state.cursors.after(key);
  }

  /** Since how long a cursor has waited to be written, in ms: a moment, while all is well. */
  get unwrittenMs(): number {
    const since = this.#writingAt ?? this.#gatheredAt;
    return since === undefined ? 0 : performance.now() - since;
  }

  /** Cursors given up since they cannot be written, since the start. */
  get refused(): number {
    return this.#refusedCount;
  }

  /** Writes all that is gathered; what could not be written is kept. */
  flush(key?: CursorKey): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#written = this.#written.catch(() => {}).then(() => this.#write());
    return key === undefined ? this.#written : this.#written.then(() => this.#throwRefused(key));
  }

  #throwRefused(key: CursorKey): void {
    const error = this.#refused.get(key);
    if (error !== undefined) throw error;
  }

  #gather(key: CursorKey, cursor: Gathered, waitMs = gatherMs): void {
    if (this.#refused.get(key) !== undefined) return;
    this.#gathered.set(key, cursor);
    this.#gatheredAt ??= performance.now();
    this.#timer ??= setTimeout(() => {
      this.flush().catch(this.#options.onFailure);
    }, waitMs);
  }

  async #write(): Promise<void> {
    if (this.#gathered.size === 0) return;
    const writing = this.#gathered;
    this.#writing = writing;
    this.#writingAt = this.#gatheredAt;
    this.#gathered = new Map();
    this.#gatheredAt = undefined;
    try {
      const removed = await this.#state.writeCursors(writing, (key, error) => this.#giveUp(key, error));
      for (const [key, { offset, generation }] of writing)
        if (this.#refused.get(key) === undefined) this.#kept.set(key, { offset, generation });
      for (const key of removed) this.#kept.delete(key);
    } catch (error) {
      this.#gatheredAt = this.#writingAt;
      for (const [key, cursor] of writing) if (!this.#gathered.has(key)) this.#gather(key, cursor, retryMs);
      throw error;
    } finally {
      this.#writing = new Map();
      this.#writingAt = undefined;
    }
    this.#tell(writing);
  }

  #giveUp(key: CursorKey, error: CursorError): void {
    this.#refused.set(key, error);
    this.#refusedCount++;
    this.#gathered.delete(key);
    this.#options.onRefused?.(key, error);
  }

  #tell(written: Map<CursorKey, Gathered>): void {
    const { onWritten } = this.#options;
    if (onWritten === undefined) return;
    const cursors: [CursorKey, Cursor][] = [];
    for (const [key, cursor] of written)
      if (!cursor.isFromElsewhere && this.#refused.get(key) === undefined) cursors.push([key, cursor]);
    if (cursors.length > 0) onWritten(cursors);
  }

  async close(): Promise<void> {
    await this.flush().catch(this.#options.onFailure);
    clearTimeout(this.#timer);
  }
}
