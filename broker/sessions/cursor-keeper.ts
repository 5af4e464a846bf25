/* CursorKeeper: acknowledgements on their way to disk.
 *
 * Clients acknowledge often and a cursor is one small write, so acknowledgements gather here and go to LMDB together, a few
 * times a second. A crash loses the last moment's acknowledgements: their readers get a few entries again, none less. Who
 * asks for an answer gets it once the cursor is on disk. */

import { type Cursor, type CursorKey, type Offset, RecentMap, type State } from "../state/index.ts";

/** How long acknowledgements gather, in ms. */
const gatherMs = 100;
/** Cursors kept in memory once they are written. */
const keptCursors = 100_000;

/** Where sessions keep their cursors: the keeper itself, or a worker's way to it. Calls take effect in their order. */
export interface Cursors {
  get(key: CursorKey): Cursor | undefined | Promise<Cursor | undefined>;
  /** The reader has finished with all up to `offset`. An older offset changes nothing, nor does another generation's. */
  acknowledge(key: CursorKey, offset: Offset, generation: number): void;
  /** Moves the cursor, back or forth, into a new generation. */
  seek(key: CursorKey, offset: Offset): void;
  /** Settles once all that was acknowledged and sought is on disk; rejects when it could not be written. */
  flush(): Promise<void>;
}

export class CursorKeeper implements Cursors {
  readonly #state: State;
  readonly #onFailure: (error: unknown) => void;
  #gathered = new Map<CursorKey, Cursor>();
  /** Being written: still needed by readers until it is. */
  #writing = new Map<CursorKey, Cursor>();
  /** Written lately. Nobody else writes cursors, so these are the truth whatever snapshot a read of the tables would see. */
  readonly #kept = new RecentMap<CursorKey, Cursor>(keptCursors / 2);
  #timer: NodeJS.Timeout | undefined;
  #written: Promise<void> = Promise.resolve();

  constructor(state: State, onFailure: (error: unknown) => void) {
    this.#state = state;
    this.#onFailure = onFailure;
  }

  get(key: CursorKey): Cursor | undefined {
    return (
      this.#gathered.get(key) ?? this.#writing.get(key) ?? this.#kept.get(key) ?? this.#state.cursors.get(key)
    );
  }

  acknowledge(key: CursorKey, offset: Offset, generation: number): void {
    const cursor = this.get(key);
    if (cursor !== undefined && (offset <= cursor.offset || generation !== cursor.generation)) return;
    this.#gather(key, { offset, generation });
  }

  seek(key: CursorKey, offset: Offset): void {
    this.#gather(key, { offset, generation: (this.get(key)?.generation ?? 0) + 1 });
  }

  /** Writes all that is gathered; what could not be written is kept. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#written = this.#written.catch(() => {}).then(() => this.#write());
    return this.#written;
  }

  #gather(key: CursorKey, cursor: Cursor): void {
    this.#gathered.set(key, cursor);
    this.#timer ??= setTimeout(() => {
      this.flush().catch(this.#onFailure);
    }, gatherMs);
  }

  async #write(): Promise<void> {
    if (this.#gathered.size === 0) return;
    this.#writing = this.#gathered;
    this.#gathered = new Map();
    try {
      const removed = await this.#state.writeCursors(this.#writing);
      for (const [key, cursor] of this.#writing) this.#kept.set(key, cursor);
      for (const key of removed) this.#kept.delete(key);
    } catch (error) {
      for (const [key, cursor] of this.#writing) if (!this.#gathered.has(key)) this.#gather(key, cursor);
      throw error;
    } finally {
      this.#writing = new Map();
    }
  }

  async close(): Promise<void> {
    await this.flush().catch(this.#onFailure);
    clearTimeout(this.#timer);
  }
}
