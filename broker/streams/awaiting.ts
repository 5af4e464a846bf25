/* Awaiting: subscriptions to what a user does, or is to be shown, who is none yet.
 *
 *   add ──> no such user ──> held by handle ──a batch made the user──> the stream has the user's number, to be linked
 *
 * To subscribe makes nobody a user, and what they do once they are one must not be missed. A user's first entry is in the batch
 * that makes them one or in a later one. So it is enough to look, before a batch is fanned out, which users it made; that costs
 * nothing while nobody is awaited, and a read of one key while no user was made.
 *
 * Bounded by the subscriptions there are. */

import { fold } from "../../protocol/index.ts";
import type { State, UserNo } from "../state/index.ts";
import type { Stream } from "./stream.ts";
import type { Subscription } from "./subscription.ts";

export class Awaiting {
  readonly #state: State;
  readonly #byHandle = new Map<string, Set<Subscription>>();
  /** The newest user when it was last looked: none awaited has a number up to it. */
  #seen: UserNo = 0;

  constructor(state: State) {
    this.#state = state;
  }

  /** Holds a subscription whose stream awaits a user, unless there is that user by now. */
  add(subscription: Subscription): void {
    const { stream } = subscription;
    if (stream.awaits === undefined) return;
    this.#state.refresh();
    if (this.#byHandle.size === 0) this.#seen = this.#state.users.newest();
    const user = this.#state.users.find(stream.awaits);
    if (user !== undefined) {
      settle(stream, user);
      return;
    }
    const held = this.#byHandle.get(stream.awaits);
    if (held === undefined) this.#byHandle.set(stream.awaits, new Set([subscription]));
    else held.add(subscription);
  }

  delete(subscription: Subscription): void {
    const { awaits } = subscription.stream;
    if (awaits === undefined) return;
    const held = this.#byHandle.get(awaits);
    if (held?.delete(subscription) === true && held.size === 0) this.#byHandle.delete(awaits);
  }

  /** Those whose user has come since the last look. Their streams have the user's number now. */
  take(): Subscription[] {
    const came: Subscription[] = [];
    if (this.#byHandle.size === 0) return came;
    this.#state.refresh();
    const newest = this.#state.users.newest();
    if (newest === this.#seen) return came;
    for (const [handle, user] of this.#found(newest)) {
      const held = this.#byHandle.get(handle);
      if (held === undefined) continue;
      this.#byHandle.delete(handle);
      for (const subscription of held) {
        settle(subscription.stream, user);
        came.push(subscription);
      }
    }
    this.#seen = newest;
    return came;
  }

  /** The users made since the last look, or those awaited who are users: whichever are fewer to look up. */
  *#found(newest: UserNo): Generator<[handle: string, user: UserNo]> {
    const { users } = this.#state;
    if (newest - this.#seen <= this.#byHandle.size) {
      for (let user = this.#seen + 1; user <= newest; user++) yield [fold(users.handle(user)), user];
      return;
    }
    for (const handle of Array.from(this.#byHandle.keys())) {
      const user = users.find(handle);
      if (user !== undefined) yield [handle, user];
    }
  }
}

function settle(stream: Stream, user: UserNo): void {
  if (stream.kind === "user") stream.user = user;
  else if (stream.kind === "home" || stream.kind === "mentions") stream.reader = user;
  stream.awaits = undefined;
}
