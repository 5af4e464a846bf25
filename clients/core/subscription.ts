/* Subscription: one open stream, over as many sessions as it takes.
 *
 *   waiting --session--> asking --ok--> open --buffer full--> parked
 *      ^                    ^             |                     |
 *      |                    '-------------+------drained--------'
 *      '---------------session lost-------'
 *   any --end--> ended          any --refused--> ended, after what is buffered, with the error
 *
 * Holds what has arrived and the loop has not taken, and the position to resume from: the last cursor that entered
 * the buffer. Items at or before it are repeats and are dropped. Asking, numbers and acknowledgements are the
 * business of Subscriptions. */

import type { FieldsOf, StreamEvent } from "../../protocol/schemas.ts";
import { EventBuffer } from "./buffer.ts";
import { compareCursors } from "./cursors.ts";
import { clientLimits } from "./limits.ts";

export type SubscriptionState = "waiting" | "asking" | "open" | "parked" | "ended";
export type StreamRequest = Omit<FieldsOf<"subscribe">, "sub" | "as"> & { as?: string };

/** What a subscription asks of the set it belongs to. */
export interface SubscriptionOwner {
  /** The loop waits for an event that is not there. */
  hungry(subscription: Subscription): void;
  /** The loop took an event. */
  taken(subscription: Subscription): void;
  /** `finished` moved. */
  finished(subscription: Subscription): void;
  /** The loop has no more use for it. */
  left(subscription: Subscription): void;
}

interface Waiter {
  resolve: (result: IteratorResult<StreamEvent, undefined>) => void;
  reject: (error: Error) => void;
}

const done: IteratorResult<StreamEvent, undefined> = { done: true, value: undefined };

export class Subscription {
  readonly request: StreamRequest;
  /** The stream, its filter and whose it is: equal for what the broker takes for the same. */
  readonly what: string;
  readonly #owner: SubscriptionOwner;
  readonly #buffer = new EventBuffer();
  #waiter: Waiter | undefined;
  #failure: Error | undefined;
  #resolveOpened!: (cursor: string) => void;
  #rejectOpened!: (error: Error) => void;

  state: SubscriptionState = "waiting";
  /** The number it has in the present session. */
  sub: number | undefined;
  /** Where to resume: the last cursor that entered the buffer, or where the broker began. */
  position: string | undefined;
  /** The cursor up to which the user is done, and the last one acknowledged in this session. */
  finishedCursor: string | undefined;
  ackedCursor: string | undefined;
  /** Attempts refused with a retryable error, in a row. */
  refusals = 0;
  /** Where the broker began, once it agreed the first time. */
  readonly opened: Promise<string>;

  constructor(request: StreamRequest, owner: SubscriptionOwner) {
    const { stream, filter, as } = request;
    this.request = request;
    this.what = JSON.stringify([stream, filter, as]);
    this.#owner = owner;
    this.opened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve;
      this.#rejectOpened = reject;
    });
    // Whoever does not look at `opened` hears the same failure from the loop.
    this.opened.catch(() => undefined);
  }

  get isHungry(): boolean {
    return this.#waiter !== undefined;
  }

  /** Past the mark where the socket should be paused. */
  get isFull(): boolean {
    return this.#buffer.length >= clientLimits.pauseEvents || this.#buffer.bytes >= clientLimits.pauseBytes;
  }

  /** At the maximum: no event may enter. */
  get isOverfull(): boolean {
    return (
      this.#buffer.length >= clientLimits.bufferedEvents || this.#buffer.bytes >= clientLimits.bufferedBytes
    );
  }

  /** Few enough events are left to go on. */
  get isDrained(): boolean {
    return this.#buffer.length <= clientLimits.goOnEvents;
  }

  /** The broker agreed; `cursor` is where it begins. */
  begin(cursor: string): void {
    this.state = "open";
    this.refusals = 0;
    this.position ??= cursor;
    this.#resolveOpened(cursor);
  }

  /** Takes an event of the present session, `bytes` long on the wire; repeats are dropped. */
  push(event: StreamEvent, bytes: number): void {
    const order = this.position === undefined ? undefined : compareCursors(event.cursor, this.position);
    if (event.event !== "live" && order !== undefined && order <= 0) return;
    if (order === undefined || order > 0) this.position = event.cursor;
    if (this.#waiter === undefined) {
      this.#buffer.push(event, bytes);
    } else {
      const waiter = this.#waiter;
      this.#waiter = undefined;
      waiter.resolve({ done: false, value: event });
    }
  }

  /** Notes the cursor of an event of a kind this version does not know. */
  pass(cursor: string): void {
    const order = this.position === undefined ? undefined : compareCursors(cursor, this.position);
    if (order === undefined || order > 0) this.position = cursor;
  }

  /** The next event; waits for it. */
  next(): Promise<IteratorResult<StreamEvent, undefined>> {
    const event = this.#buffer.shift();
    if (event !== undefined) {
      this.#owner.taken(this);
      return Promise.resolve({ done: false, value: event });
    }
    if (this.#failure !== undefined) {
      const failure = this.#failure;
      this.#failure = undefined;
      return Promise.reject(failure);
    }
    if (this.state === "ended") return Promise.resolve(done);
    if (this.#waiter !== undefined) {
      return Promise.reject(new Error("next() is already waiting; a stream has one reader"));
    }
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#owner.hungry(this);
    });
  }

  /** The user is done with everything up to `cursor`. */
  finish(cursor: string): void {
    const before = this.finishedCursor;
    if (before !== undefined && (compareCursors(cursor, before) ?? 1) <= 0) return;
    this.finishedCursor = cursor;
    if (this.state !== "ended") this.#owner.finished(this);
  }

  /** Ends the iteration now; what is buffered is not delivered. */
  end(): void {
    if (this.state !== "ended") this.#owner.left(this);
    this.#buffer.clear();
    this.#failure = undefined;
    this.#settle(undefined);
  }

  /** Ends the iteration with `error`, thrown once after what is buffered. Called by the owner, who has let go. */
  fail(error: Error): void {
    this.#settle(error);
  }

  #settle(error: Error | undefined): void {
    this.state = "ended";
    this.sub = undefined;
    this.#rejectOpened(error ?? new Error(`${this.request.stream}: the stream was ended before it was open`));
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter === undefined) this.#failure = error;
    else if (error === undefined) waiter.resolve(done);
    else waiter.reject(error);
  }
}
