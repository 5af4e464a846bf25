/* Outbox: frames on their way to one connection, as references to bytes shared with other sessions.
 *
 * Bounded: when it holds more than `outboxBytes` its events are dropped, and their subscriptions go back to catch-up from
 * where the first dropped one leaves them. Answers are never dropped; how many there can be is bounded by `inFlight`. */

import type { Frame } from "../streams/index.ts";

/** The most a session keeps for a connection that does not take it, in bytes. */
export const outboxBytes = 1_048_576;

export class Outbox {
  #frames: Frame[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#frames.length === 0;
  }

  push(frame: Frame): void {
    this.#frames.push(frame);
    this.#bytes += frame.bytes.length;
  }

  /** Takes frames out, in order, until they make up `most` bytes. */
  take(most: number): Buffer[] {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let taken = 0;
    while (taken < this.#frames.length && bytes < most) {
      const chunk = this.#frames[taken++]!.bytes;
      chunks.push(chunk);
      bytes += chunk.length;
    }
    this.#frames = taken === this.#frames.length ? [] : this.#frames.slice(taken);
    this.#bytes -= bytes;
    return chunks;
  }

  /** Drops all events. Answers stay. Returns for each subscription where it must go on from. */
  dropEvents(): Map<number, number> {
    const positions = new Map<number, number>();
    const answers: Frame[] = [];
    for (const frame of this.#frames) {
      if (frame.sub === 0) answers.push(frame);
      else if (!positions.has(frame.sub)) positions.set(frame.sub, frame.before);
    }
    this.#frames = answers;
    this.#bytes = answers.reduce((sum, frame) => sum + frame.bytes.length, 0);
    return positions;
  }

  /** Drops what waits for one subscription. */
  dropSubscription(sub: number): void {
    this.#frames = this.#frames.filter((frame) => frame.sub !== sub);
    this.#bytes = this.#frames.reduce((sum, frame) => sum + frame.bytes.length, 0);
  }
}
