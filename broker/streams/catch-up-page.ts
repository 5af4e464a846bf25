/* CatchUpPage: what one step of catch-up hands over, as one frame.
 *
 * The frames of its events are put together into one buffer: for the session a page is one thing to queue, to write, or to
 * drop, in which case the subscription goes on from before the page. One page is put together at a time. */

import type { Offset } from "../state/index.ts";
import type { Delivery, Frame } from "./delivery.ts";
import type { Places, Ready } from "./ready.ts";
import type { Subscription } from "./subscription.ts";

/** Events in one step, */
const pageEvents = 1_024;
/** and bytes of their frames: a page and what a session has room for must fit its outbox. */
const pageBytes = 262_144;
/** Entries read from the store, or from what is kept of it, in one step. */
const maxLooked = 1_000;
/** LMDB look-ups of a merge, or of authors that may be followed, in one step. */
const maxLookups = 1_000;

export class CatchUpPage {
  /** Look-ups that are left. */
  readonly budget = { lookups: maxLookups };
  readonly #ready: Ready;
  readonly #places: Places | undefined;
  readonly #subscription: Subscription;
  readonly #before: Offset;
  #frames = 0;
  #bytes = 0;
  #looked = 0;
  #events = 0;
  #isEnded = false;
  #offset: Offset;
  #first: Frame | undefined;

  constructor(subscription: Subscription, ready: Ready) {
    this.#subscription = subscription;
    this.#ready = ready;
    this.#places = ready.places(subscription.sink.encoder, subscription.number);
    this.#before = subscription.position;
    this.#offset = subscription.position;
    ready.begin();
  }

  /** Events of entries in it. */
  get events(): number {
    return this.#events;
  }

  get isFull(): boolean {
    return (
      this.#isEnded || this.#events >= pageEvents || this.#bytes >= pageBytes || this.#looked >= maxLooked
    );
  }

  /** Nothing more is to come into it. */
  end(): void {
    this.#isEnded = true;
  }

  /** An entry was looked at, whatever comes of it; `weight` for what costs as much as so many. */
  look(weight = 1): void {
    this.#looked += weight;
  }

  /** Adds the event of the plain post at `offset` if its bytes are kept. */
  addKept(offset: Offset): boolean {
    const bytes = this.#places === undefined ? 0 : this.#ready.addKept(this.#places, offset);
    if (bytes === 0) return false;
    this.#count(bytes, offset);
    this.#events++;
    return true;
  }

  /** Adds an event. That of a plain post is kept for the next reader. */
  add(delivery: Delivery, isPlain: boolean): void {
    const frame = this.#addFrame(delivery);
    this.#events++;
    if (isPlain && this.#places !== undefined) this.#ready.keep(this.#places, frame.offset, frame.bytes);
  }

  /** Closes it with an event that tells a position. */
  mark(delivery: Delivery): void {
    this.#addFrame(delivery);
  }

  /** All of it; undefined when there is nothing in it. One event alone stays the frame that other readers get, too. */
  frame(): Frame | undefined {
    if (this.#frames === 0) return undefined;
    if (this.#frames === 1 && this.#first !== undefined) return this.#first;
    const { number } = this.#subscription;
    return { bytes: this.#ready.take(), sub: number, offset: this.#offset, before: this.#before };
  }

  #addFrame(delivery: Delivery): Frame {
    const { sink, number } = this.#subscription;
    const frame = delivery.frame(sink.encoder, number);
    if (this.#frames === 0) this.#first = frame;
    this.#ready.add(frame.bytes);
    this.#count(frame.bytes.length, frame.offset);
    return frame;
  }

  #count(bytes: number, offset: Offset): void {
    this.#frames++;
    this.#bytes += bytes;
    this.#offset = offset;
  }
}
