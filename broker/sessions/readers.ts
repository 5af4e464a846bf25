/* Readers: whose durable cursors they are.
 *
 * Cursors are kept by the reader's number, and whoever only reads has none: to read makes nobody a user. A reader becomes one when
 * something of theirs is to be kept: at a first `resume`, at the first acknowledgement of what was read otherwise, when a cursor is
 * moved. That counts against their rate, as every command does. */

import type { Intake } from "./intake.ts";
import type { Principal } from "./principal.ts";
import { type CursorKey, type State, cursorKey } from "../state/index.ts";

/** Names a durable cursor by the reader's handle, whether there is such a user or not. */
export interface CursorName {
  reader: string;
  device: string;
  stream: string;
}

export class Readers {
  readonly #state: State;
  readonly #intake: Intake;

  constructor({ state, intake }: { state: State; intake: Intake }) {
    this.#state = state;
    this.#intake = intake;
  }

  /** What the cursor is kept under; undefined while the reader is no user. */
  keyOf({ reader, device, stream }: CursorName): CursorKey | undefined {
    const number = this.#state.users.find(reader);
    return number === undefined ? undefined : cursorKey(number, device, stream);
  }

  /** Makes the reader a user, and settles with what the cursor is kept under. @throws `rate_limited`, `storage_full`, `unavailable` */
  async make(name: CursorName, principal: Principal): Promise<CursorKey> {
    const { error } = await this.#intake.append({ op: "user", user: name.reader }, principal);
    if (error !== undefined) throw error;
    return this.keyOf(name)!;
  }

  /** Counts what a user has begun to keep against their rate. @throws `rate_limited` */
  charge(principal: Principal): void | Promise<void> {
    return this.#intake.take(principal);
  }
}
