/* Outbox: frames on their way to one connection, as references to bytes shared with other sessions.
 *
 * Bounded: when it holds more than `outboxBytes` of events these are dropped, and their subscriptions go back to catch-up
 * from where the first dropped one leaves them. Answers are never dropped; the session begins no request while they pile
 * up. */

import type { Offset } from "../state/index.ts";
import type { Frame } from "../streams/index.ts";

/** The most events a session keeps for a connection that does not take them, in bytes. */
export const outboxBytes = 1_048_576;

export class Outbox {
  #frames: Frame[] = [];
  #eventBytes = 0;
  #answerBytes = 0;

  get eventBytes(): number {
    return this.#eventBytes;
  }

  get answerBytes(): number {
    return this.#answerBytes;
  }

  get bytes(): number {
    return this.#eventBytes + this.#answerBytes;
  }

  get isEmpty(): boolean {
    return this.#frames.length === 0;
  }

  push(frame: Frame): void {
    this.#frames.push(frame);
    if (frame.sub === 0) this.#answerBytes += frame.bytes.length;
    else this.#eventBytes += frame.bytes.length;
  }

  /** Takes frames out, in order, until they make up `most` bytes. */
  take(most: number): Buffer[] {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let taken = 0;
    while (taken < this.#frames.length && bytes < most) {
      const frame = this.#frames[taken++]!;
      chunks.push(frame.bytes);
      bytes += frame.bytes.length;
      if (frame.sub === 0) this.#answerBytes -= frame.bytes.length;
      else this.#eventBytes -= frame.bytes.length;
    }
    this.#frames = taken === this.#frames.length ? [] : this.#frames.slice(taken);
    return chunks;
  }

  /** Drops all events. Returns for each subscription where it must go on from. */
  dropEvents(): Map<number, Offset> {
    const positions = new Map<number, Offset>();
    for (const frame of this.#frames) {
      if (frame.sub !== 0 && !positions.has(frame.sub)) positions.set(frame.sub, frame.before);
    }
    this.#keep((frame) => frame.sub === 0);
    return positions;
  }

  /** Drops what waits for one subscription. */
  dropSubscription(sub: number): void {
    this.#keep((frame) => frame.sub !== sub);
  }

  #keep(isKept: (frame: Frame) => boolean): void {
    this.#frames = this.#frames.filter(isKept);
    this.#eventBytes = 0;
    for (const { sub, bytes } of this.#frames) if (sub !== 0) this.#eventBytes += bytes.length;
  }
}
