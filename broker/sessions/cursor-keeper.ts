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

import { type Cursor, type CursorKey, type Offset, RecentMap, type State, isLater } from "../state/index.ts";

/** How long acknowledgements gather, in ms. */
const gatherMs = 100;
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
  /** Settles once all that was acknowledged and sought is on disk; rejects when it could not be written. */
  flush(): Promise<void>;
}

export interface CursorKeeperOptions {
  /** Hears of every failure to write. */
  onFailure: (error: unknown) => void;
  /** Hears of cursors that were moved here, once they are on disk. */
  onWritten?: (cursors: [CursorKey, Cursor][]) => void;
}

interface Gathered extends Cursor {
  /** Another node told of it. */
  isFromElsewhere: boolean;
}

export class CursorKeeper implements Cursors {
  readonly #state: State;
  readonly #options: CursorKeeperOptions;
  #gathered = new Map<CursorKey, Gathered>();
  /** Being written: still needed by readers until it is. */
  #writing = new Map<CursorKey, Gathered>();
  /** Written lately. Nobody else writes cursors, so these are the truth whatever snapshot a read of the tables would see. */
  readonly #kept = new RecentMap<CursorKey, Cursor>(keptCursors / 2);
  /** Since when some have waited to be written, as performance.now(). */
  #waitingSince: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #written: Promise<void> = Promise.resolve();

  constructor(state: State, options: CursorKeeperOptions) {
    this.#state = state;
    this.#options = options;
  }

  /** For how long cursors have waited to be written, in ms; 0 when none waits. */
  get unwrittenMs(): number {
    return this.#waitingSince === undefined ? 0 : performance.now() - this.#waitingSince;
  }

  get(key: CursorKey): Cursor | undefined {
    return (
      this.#gathered.get(key) ?? this.#writing.get(key) ?? this.#kept.get(key) ?? this.#state.cursors.get(key)
    );
  }

  acknowledge(key: CursorKey, offset: Offset, generation: number): void {
    const cursor = this.get(key);
    if (cursor !== undefined && (offset <= cursor.offset || generation !== cursor.generation)) return;
    this.#gather(key, { offset, generation, isFromElsewhere: false });
  }

  begin(key: CursorKey, offset: Offset): void {
    if (this.get(key) === undefined) this.#gather(key, { offset, generation: 0, isFromElsewhere: false });
  }

  seek(key: CursorKey, offset: Offset): void {
    const generation = (this.get(key)?.generation ?? 0) + 1;
    this.#gather(key, { offset, generation, isFromElsewhere: false });
  }

  /** Another node tells of a cursor: the later one stays. False when too much waits to be written: tell it again. */
  merge(key: CursorKey, cursor: Cursor): boolean {
    if (!isLater(cursor, this.get(key))) return true;
    if (this.#gathered.size >= maxGathered) return false;
    this.#gather(key, { ...cursor, isFromElsewhere: true });
    return true;
  }

  /** Those on disk that follow `key` in the order of the store; all of them when it is undefined. */
  after(key: CursorKey | undefined): Iterable<[CursorKey, Cursor]> {
    this.#state.refresh();
    return this.#state.cursors.after(key);
  }

  /** Writes all that is gathered; what could not be written is kept. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#written = this.#written.catch(() => {}).then(() => this.#write());
    return this.#written;
  }

  #gather(key: CursorKey, cursor: Gathered): void {
    this.#gathered.set(key, cursor);
    this.#waitingSince ??= performance.now();
    this.#timer ??= setTimeout(() => {
      this.flush().catch(this.#options.onFailure);
    }, gatherMs);
  }

  async #write(): Promise<void> {
    if (this.#gathered.size === 0) return;
    const writing = this.#gathered;
    const startedAt = performance.now();
    this.#writing = writing;
    this.#gathered = new Map();
    try {
      const removed = await this.#state.writeCursors(writing);
      for (const [key, { offset, generation }] of writing) this.#kept.set(key, { offset, generation });
      for (const key of removed) this.#kept.delete(key);
      this.#waitingSince = this.#gathered.size === 0 ? undefined : startedAt;
    } catch (error) {
      for (const [key, cursor] of writing) if (!this.#gathered.has(key)) this.#gather(key, cursor);
      throw error;
    } finally {
      this.#writing = new Map();
    }
    this.#tell(writing);
  }

  #tell(written: Map<CursorKey, Gathered>): void {
    const { onWritten } = this.#options;
    if (onWritten === undefined) return;
    const cursors: [CursorKey, Cursor][] = [];
    for (const [key, cursor] of written) if (!cursor.isFromElsewhere) cursors.push([key, cursor]);
    if (cursors.length > 0) onWritten(cursors);
  }

  async close(): Promise<void> {
    await this.flush().catch(this.#options.onFailure);
    clearTimeout(this.#timer);
  }
}
