/* Awaiting: subscriptions to what a user does, or is to be shown, who is none yet, or none any more.
 *
 *   add ──> no such user ──> held by handle ──a batch made the user──> the stream has the user's number, to be linked
 *                                 ^                                                         |
 *                                 '──────────── the user was dropped ───────────────────────'
 *
 * To subscribe makes nobody a user, and what they do once they are one must not be missed. A user's first entry is in the batch
 * that makes them one or in a later one. So it is enough to look, before a batch is fanned out, which users it made; that costs
 * nothing while nobody is awaited, and a read of one key while no user was made.
 *
 * A user who is dropped may be another by now, under the same handle, and that one dropped, too: the state is ahead of what is fanned
 * out. So who is dropped is noted as the batch comes, and let go when fan-out comes to it: each subscription then goes on to the next
 * of its handle. What catches up reads the state, and goes on to the user of the handle who is there now.
 *
 * Bounded by the subscriptions there are, and by the users dropped in entries that wait to be fanned out. */

import { fold } from "../../protocol/index.ts";
import type { Entry, ForgottenEntry, State, UserNo } from "../state/index.ts";
import type { Interest } from "./interest.ts";
import { awaitedBy, setUser, userOf } from "./stream.ts";
import type { Subscription } from "./subscription.ts";

export class Awaiting {
  readonly #state: State;
  readonly #interest: Interest;
  readonly #byHandle = new Map<string, Set<Subscription>>();
  /** The newest user when it was last looked: none awaited has a number up to it. */
  #seen: UserNo = 0;
  /** Users who were dropped and whom fan-out has still to come to, by their handles; the first first. */
  readonly #leaving = new Map<string, UserNo[]>();

  constructor(state: State, interest: Interest) {
    this.#state = state;
    this.#interest = interest;
  }

  /** Holds a subscription whose stream awaits a user, unless there is that user by now. */
  add(subscription: Subscription): void {
    const handle = awaitedBy(subscription.stream);
    if (handle === undefined) return;
    this.#state.refresh();
    if (this.#byHandle.size === 0) this.#seen = this.#state.users.newest();
    const user = this.#state.users.find(handle);
    if (user === undefined) this.#hold(subscription, handle);
    else setUser(subscription.stream, user);
  }

  delete(subscription: Subscription): void {
    const handle = awaitedBy(subscription.stream);
    if (handle === undefined) return;
    const held = this.#byHandle.get(handle);
    if (held?.delete(subscription) === true && held.size === 0) this.#byHandle.delete(handle);
  }

  /** A batch is about to be fanned out: those whose user has come are linked before their first entry is on its way. */
  hear(entries: Entry[]): void {
    for (const entry of entries) if (entry.kind === "forgotten") this.#noteLeaving(entry);
    if (this.#byHandle.size === 0) return;
    this.#state.refresh();
    const newest = this.#state.users.newest();
    if (newest <= this.#seen) return; // the newest may have been dropped; the next has a greater number
    for (const [handle, user] of this.#found(newest)) this.#came(handle, user);
    this.#seen = newest;
  }

  /** Fan-out has come to where users were dropped: nothing of theirs follows. */
  left({ users, handles }: ForgottenEntry): void {
    users.forEach((user, i) => {
      const handle = fold(handles[i]!);
      const leaving = this.#leaving.get(handle);
      if (leaving === undefined || leaving.length < 2) this.#leaving.delete(handle);
      else leaving.shift();
      for (const subscription of this.#interest.about(user)) {
        const isLive = subscription.state === "live";
        this.#moveOn(subscription, isLive ? this.#leaving.get(handle)?.[0] : undefined);
        if (isLive && awaitedBy(subscription.stream) === undefined) this.#link(subscription);
      }
      this.#interest.forget(user);
    });
  }

  /** A subscription is about to catch up: where its user was dropped, as that of who has the handle now. */
  renew(subscription: Subscription): void {
    const user = userOf(subscription.stream);
    if (user !== undefined && this.#state.users.isGone(user)) this.#moveOn(subscription);
  }

  /** Makes a subscription one to `user`, or else to who has the handle now, or awaits. */
  #moveOn(subscription: Subscription, user: UserNo = 0): void {
    this.#interest.detach(subscription);
    subscription.beginAnew();
    setUser(subscription.stream, user);
    this.add(subscription);
  }

  #hold(subscription: Subscription, handle: string): void {
    const held = this.#byHandle.get(handle);
    if (held === undefined) this.#byHandle.set(handle, new Set([subscription]));
    else held.add(subscription);
  }

  /** Who was made and dropped since the last look is found nowhere else. */
  #noteLeaving({ users, handles }: ForgottenEntry): void {
    users.forEach((user, i) => {
      const handle = fold(handles[i]!);
      const leaving = this.#leaving.get(handle);
      if (leaving === undefined) this.#leaving.set(handle, [user]);
      else leaving.push(user);
      this.#came(handle, user);
    });
  }

  #came(handle: string, user: UserNo): void {
    const held = this.#byHandle.get(handle);
    if (held === undefined) return;
    this.#byHandle.delete(handle);
    for (const subscription of held) {
      setUser(subscription.stream, user);
      if (subscription.state === "live") this.#link(subscription);
    }
  }

  /** Whom they follow comes in its turn. */
  #link(subscription: Subscription): void {
    this.#interest.attach(subscription, []);
  }

  /** The users made since the last look, or those awaited who are users: whichever are fewer to look up. */
  *#found(newest: UserNo): Generator<[handle: string, user: UserNo]> {
    const { users } = this.#state;
    if (newest - this.#seen <= this.#byHandle.size) {
      for (let user = this.#seen + 1; user <= newest; user++) {
        const handle = users.findHandle(user);
        if (handle !== undefined) yield [fold(handle), user];
      }
      return;
    }
    for (const handle of Array.from(this.#byHandle.keys())) {
      const user = users.find(handle);
      if (user !== undefined) yield [handle, user];
    }
  }
}
