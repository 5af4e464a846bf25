/* Readers: whose durable cursors they are.
 *
 * Cursors are kept by the reader's number, and whoever only reads has none: to read makes nobody a user. A reader becomes one when
 * something of theirs is to be kept: at a first `resume`, at the first acknowledgement of what was read otherwise, when a cursor is
 * moved. So does one who is a user only by what was written, whom nothing keeps once that is gone: a cursor under such a number
 * would be nobody's then. That counts against their rate, as every command does.
 *
 * Where no command is taken (the disk is full, a cluster's log is away) reading goes on: who is a user by what was written has a cursor
 * all the same, and is claimed the next time. */

import { WhalesongError } from "../../protocol/index.ts";
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

  /** What the cursor is kept under; undefined while the reader is no user who stays. */
  keyOf({ reader, device, stream }: CursorName): CursorKey | undefined {
    const { users, unclaimed } = this.#state;
    this.#state.refresh();
    const number = users.find(reader);
    if (number === undefined || !unclaimed.isClaimed(number)) return undefined;
    return cursorKey(number, device, stream);
  }

  /** Makes the reader a user who stays, and settles with what the cursor is kept under. Of one who is a user already it settles also
   *  where that cannot be; `keyOf` says whether it could. @throws `rate_limited`, `storage_full`, `unavailable` */
  async make(name: CursorName, principal: Principal): Promise<CursorKey> {
    try {
      const { error } = await this.#intake.append({ op: "user", user: name.reader }, principal);
      if (error !== undefined) throw error;
    } catch (error) {
      const number = this.#state.users.find(name.reader);
      const isHeldBack = error instanceof WhalesongError && error.code === "rate_limited";
      if (number === undefined || isHeldBack) throw error;
      return cursorKey(number, name.device, name.stream);
    }
    const key = this.keyOf(name);
    if (key === undefined) throw new Error(`${name.reader} was made a user, and is none`);
    return key;
  }

  /** Counts what a user has begun to keep against their rate. @throws `rate_limited` */
  charge(principal: Principal): void | Promise<void> {
    return this.#intake.take(principal);
  }
}
