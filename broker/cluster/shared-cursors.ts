/* SharedCursors: the cursors of a node whose readers come from other nodes.
 *
 * They are kept here, and gossip brings those of the others. What is not known here is asked for, so that a reader who comes
 * before its cursor does is not begun anew. Until NATS is there, they are as those of a broker that stands alone. */

import type { NatsConnection } from "nats";

import { CursorKeeper, type Cursors, cursorComplaints } from "../sessions/index.ts";
import type { Cursor, CursorKey, Offset, State } from "../state/index.ts";
import { Gossip, type GossipOptions } from "./gossip.ts";

export type SharedCursorsOptions = Pick<GossipOptions, "node" | "logger" | "standingMs" | "maxPending">;

export class SharedCursors implements Cursors {
  readonly #keeper: CursorKeeper;
  readonly #epoch: () => string;
  readonly #options: SharedCursorsOptions;
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
    if (this.#gossip === undefined || (known !== undefined && this.#gossip.isCurrent)) return known;
    const found = this.#gossip.find(key);
    return found === undefined ? known : found.then(() => this.#keeper.get(key));
  }

  acknowledge(key: CursorKey, offset: Offset, generation: number): void {
    this.#keeper.acknowledge(key, offset, generation);
  }

  begin(key: CursorKey, offset: Offset): void {
    this.#keeper.begin(key, offset);
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
