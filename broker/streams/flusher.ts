/* Flusher: sinks that have something queued, each written once for a slice of work.
 *
 * Within a slice frames only gather in their sessions' outboxes; at its end each session is written once, corked. So a
 * batch grows by itself as load grows, and under light load a lone frame leaves at once. */

import type { Sink } from "./subscription.ts";

export class Flusher {
  #marked: Sink[] = [];
  #scheduled = false;

  /** `sink` has something to write: at the end of this slice, or of this turn of the event loop. Mark it once only. */
  mark(sink: Sink): void {
    this.#marked.push(sink);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  flush(): void {
    if (this.#marked.length === 0) return;
    const marked = this.#marked;
    this.#marked = [];
    for (const sink of marked) sink.flush();
  }
}
