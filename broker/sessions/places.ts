/* Places: what clients name by a word, a cursor or an id, as offsets of this node.
 *
 * Another node of a cluster may be ahead of this one, and its clients come here: what they bring with them is waited for, a
 * little, before it is refused. */

import { WhalesongError } from "../../protocol/index.ts";
import type { Log } from "../log/log.ts";
import type { CursorKey, Offset, State } from "../state/index.ts";
import type { Streams } from "../streams/index.ts";
import type { Cursors } from "./cursor-keeper.ts";

export interface PlacesParts {
  state: State;
  log: Log;
  streams: Streams;
  cursors: Cursors;
}

export class Places {
  readonly #parts: PlacesParts;

  constructor(parts: PlacesParts) {
    this.#parts = parts;
  }

  /**
   * The head at this point of a connection's requests. All that any client of the broker was answered before is up to it, and what
   * this connection asks for from now on comes after it. So it is taken when a request begins, before anything is waited for: else what
   * was posted right behind a `subscribe` might be taken for older than it.
   */
  turn(): Offset {
    const { state, streams } = this.#parts;
    state.refresh();
    return Math.max(streams.head, state.applied());
  }

  /**
   * Where delivery starts: `resume`, `live`, `earliest` or a cursor; and the generation of the durable cursor in which the
   * reader acknowledges. `key` is undefined for a reader who is no user, who cannot `resume`. `charge` is called where a cursor is
   * begun. @throws `cursor_too_old`, `epoch_mismatch`, `cursor_in_future`, and what `charge` throws
   */
  async startOf(
    from: string,
    key: CursorKey | undefined,
    turn: Offset = this.turn(),
    charge: () => void | Promise<void> = () => {},
  ): Promise<{ position: Offset; generation: number }> {
    const { streams, cursors } = this.#parts;
    // Taken first: a seek that comes while a first resume is written outdates what this subscription acknowledges.
    let cursor = key === undefined ? undefined : await cursors.get(key);
    if (from !== "resume" || key === undefined)
      return { position: await this.position(from, "from", turn), generation: cursor?.generation ?? 0 };
    await this.#heard(turn);
    if (cursor === undefined) {
      // A device's first resume fixes its cursor at its turn, so that whatever comes after is never missed.
      await charge();
      cursors.begin(key, turn);
      await cursors.flush(key);
      // Of a user who has as many as may be, one that began at the same time may have taken its place.
      cursor = (await cursors.get(key)) ?? { offset: turn, generation: 0 };
    }
    // What this node has not reached comes once it has, again or not: a reader is not turned away for that.
    await this.reach(cursor.offset)?.catch(() => {});
    this.refuseTooOld(cursor.offset, "from");
    return { position: Math.min(cursor.offset, streams.head), generation: cursor.generation };
  }

  /** Settles once all that any client of the broker was answered before is known here too: `head` is past it then, and
   *  the tables are read as it left them. */
  current(): Promise<void> | undefined {
    const { state, log } = this.#parts;
    state.refresh();
    return log.current();
  }

  /** What a client names, at its `turn`. */
  async position(named: string, field: string, turn: Offset = this.turn()): Promise<Offset> {
    await this.#heard(turn);
    if (named === "live") return turn;
    if (named === "earliest") return this.#parts.state.meta.floor;
    const offset = await this.reached(named, field);
    this.refuseTooOld(offset, field);
    return offset;
  }

  /** Settles once `streams` was told of all up to `turn`. */
  #heard(turn: Offset): Promise<void> | undefined {
    const { log, streams } = this.#parts;
    if (turn <= streams.head) return undefined;
    return new Promise((resolve) => {
      log.whenDurable(turn, resolve);
    });
  }

  /** The offset of a cursor that this node has reached, at once or after a while.
   *  @throws `bad_request`, `epoch_mismatch`, `cursor_in_future`, `unavailable` */
  reached(cursor: string, field: string): Offset | Promise<Offset> {
    const { state, streams } = this.#parts;
    const offset = state.positions.parseCursor(cursor, field);
    return offset <= streams.head ? offset : this.#comeTo(offset, cursor, field);
  }

  async #comeTo(offset: Offset, cursor: string, field: string): Promise<Offset> {
    const { state, streams } = this.#parts;
    await this.current();
    await this.reach(offset);
    if (offset <= streams.head) return offset;
    throw new WhalesongError(
      "cursor_in_future",
      `${field}: the cursor ${cursor} is beyond the head, ${state.positions.cursor(streams.head)}`,
      { field },
    );
  }

  /** Waits for what another node of the cluster is ahead by; undefined when there is nothing to wait for. */
  reach(offset: Offset): Promise<void> | undefined {
    const { log, streams } = this.#parts;
    return offset > streams.head ? log.reach(offset) : undefined;
  }

  /** The same for a post that another node has told of. */
  reachPost(id: string): Promise<void> | undefined {
    const offset = this.#parts.state.positions.parseId(id);
    return offset === undefined ? undefined : this.reach(offset);
  }

  refuseTooOld(offset: Offset, field: string): void {
    if (offset < this.#parts.state.meta.floor) throw this.tooOld(field);
  }

  tooOld(field: string): WhalesongError {
    const { state } = this.#parts;
    const floor = state.positions.cursor(state.meta.floor);
    return new WhalesongError(
      "cursor_too_old",
      `${field}: entries after this cursor are gone; the oldest kept follow ${floor}: start from there ("earliest") or from "live"`,
      { field, floor },
    );
  }
}
