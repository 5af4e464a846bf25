/* Flusher: sinks that have something queued, each written once for a slice of work.
 *
 * Frames gather in their sessions' outboxes; sessions are written in the order in which they were marked, in slices of the
 * event loop. Under light load a lone frame leaves at once. Under load a session gathers more while it waits for its
 * turn: batches grow by themselves, and with them what a write is worth. */

import type { Sink } from "./subscription.ts";

/** How long a slice of writing may hold the event loop, in ms. */
const sliceMs = 5;
/** Sinks written between two looks at the clock. */
const stride = 16;

export class Flusher {
  #marked: Sink[] = [];
  #written = 0;
  #isScheduled = false;

  /** `sink` has something to write: in its turn, at the end of this turn of the event loop or later. Mark it once only. */
  mark(sink: Sink): void {
    this.#marked.push(sink);
    this.#schedule();
  }

  /** Writes now what a slice allows; the rest follows by itself. */
  flush(): void {
    const end = performance.now() + sliceMs;
    while (this.#written < this.#marked.length) {
      this.#marked[this.#written++]!.flush();
      if (this.#written % stride === 0 && performance.now() >= end) break;
    }
    if (this.#written < this.#marked.length) {
      this.#marked = this.#marked.slice(this.#written);
      this.#schedule();
    } else this.#marked = [];
    this.#written = 0;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.flush();
    });
  }
}
