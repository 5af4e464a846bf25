/* SharedCursors: the cursors of a node whose readers come from other nodes.
 *
 * They are kept here, and gossip brings those of the others. What is not known here is asked for, so that a reader who comes
 * before its cursor does is not begun at the head. Where nobody can be asked a reader is served all the same, and what is begun for it is
 * provisional: it yields to any cursor that another node knows. */

import type { NatsConnection } from "nats";

import { CursorKeeper, type Cursors, cursorComplaints } from "../sessions/index.ts";
import {
  type Cursor,
  type CursorKey,
  type Offset,
  RecentMap,
  type State,
  provisional,
} from "../state/index.ts";
import { Gossip, type GossipOptions } from "./gossip.ts";

/** Names remembered of cursors that others could not be asked for: each until it is begun, which comes right after. */
const keptUncertain = 100_000;

export type SharedCursorsOptions = Pick<GossipOptions, "node" | "logger" | "standingMs" | "maxPending">;

export class SharedCursors implements Cursors {
  readonly #keeper: CursorKeeper;
  readonly #epoch: () => string;
  readonly #options: SharedCursorsOptions;
  /** Cursors not known here when others could not be asked, as of the last time. */
  readonly #uncertain = new RecentMap<CursorKey, true>(keptUncertain / 2);
  #gossip: Gossip | undefined;
  #isClosed = false;

  constructor(state: State, options: SharedCursorsOptions) {
    this.#options = options;
    this.#epoch = () => state.positions.epoch;
    // What is written before there is gossip is on disk when it begins, and that is where it begins.
    this.#keeper = new CursorKeeper(state, {
      ...cursorComplaints(options.logger),
      onWritten: (cursors) => this.#gossip?.tell(cursors),
    });
  }

  /** NATS is there: they are shared from now on, under `subject`. Not when they are closed, and the broker with them. */
  share(connection: NatsConnection, subject: string): Gossip | undefined {
    if (this.#isClosed) return undefined;
    const { node, logger } = this.#options;
    this.#gossip = new Gossip({
      ...this.#options,
      connection,
      subject,
      epoch: this.#epoch,
      cursors: this.#keeper,
    });
    logger.debug({ node, run: this.#gossip.run }, "cursors are shared");
    return this.#gossip;
  }

  get(key: CursorKey): Cursor | undefined | Promise<Cursor | undefined> {
    const known = this.#keeper.get(key);
    const isCertain = known !== undefined && known.generation !== provisional;
    if (isCertain && (this.#gossip === undefined || this.#gossip.isCurrent)) return known;
    const found = this.#gossip?.find(key);
    if (found !== undefined) return this.#settle(key, found);
    this.#uncertain.set(key, true);
    return known;
  }

  /** What is known of a cursor once the others were asked, and whether that is all there is. */
  async #settle(key: CursorKey, found: Promise<boolean>): Promise<Cursor | undefined> {
    const areAllAnswered = await found;
    const known = this.#keeper.get(key);
    if (known !== undefined && known.generation !== provisional) return known;
    if (await this.#gossip!.isNowhere(areAllAnswered)) {
      this.#uncertain.delete(key);
      this.#keeper.confirm(key);
    } else this.#uncertain.set(key, true);
    return this.#keeper.get(key);
  }

  acknowledge(key: CursorKey, offset: Offset, generation: number): void {
    this.#keeper.acknowledge(key, offset, generation);
  }

  /** Where others could not be asked a moment ago, it is provisional: a reader whose cursor only they know is served, from the head, and
   *  goes on from that cursor once it is known here. */
  begin(key: CursorKey, offset: Offset): void {
    this.#keeper.begin(key, offset, this.#uncertain.get(key) === true ? provisional : 0);
  }

  seek(key: CursorKey, offset: Offset): void {
    this.#keeper.seek(key, offset);
  }

  flush(key?: CursorKey): Promise<void> {
    return this.#keeper.flush(key);
  }

  get unwrittenMs(): number {
    return this.#keeper.unwrittenMs;
  }

  get refused(): number {
    return this.#keeper.refused;
  }

  /** Writes what is left, tells the others, and says goodbye. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#keeper.close();
    await this.#gossip?.close();
  }
}
