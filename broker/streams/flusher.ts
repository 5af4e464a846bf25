/* Flusher: sinks that have something queued, each written once for a slice of work.
 *
 * Frames gather in their sessions' outboxes; sessions are written in the order in which they were marked, in slices of the
 * event loop. Under light load a lone frame leaves at once. Under load a session gathers more while it waits for its
 * turn: batches grow by themselves, and with them what a write is worth.
 *
 * There are two lanes. What is for many (a whale's post, a crowd that catches up) is bulk; the rest is prompt, and goes
 * first, so that what is for few does not wait until fifty thousand others are written to. A sink in both is written, all
 * it has, in the first turn of either: its frames keep their order. */

import type { Sink } from "./subscription.ts";

/** How long a slice of writing may hold the event loop, in ms; */
const sliceMs = 5;
/** and its prompt part, while there is bulk too. */
const promptMs = 3.5;
/** Sinks written between two looks at the clock. */
const stride = 16;
/** Bytes that one sink may have gathered in the bulk lane before its turn comes; well below what an outbox holds. */
const maxGathered = 262_144;

/** How a sink is marked: not at all, or in which lane. */
export type Mark = 0 | 1 | 2;
const bulk = 1;
const prompt = 2;

export class Flusher {
  readonly #prompt = new Lane();
  readonly #bulk = new Lane();
  #lane: Mark = prompt;
  #isScheduled = false;
  /** Bytes handed to each sink of a crowd, ever; */
  #handed = 0;
  /** and what they came to when the place in line was the lane's end: who stands there or behind has gathered only since. */
  #milestones: { place: number; handed: number }[] = [];

  /** `sink` has something to write: in its turn, at the end of this turn of the event loop or later. */
  mark(sink: Sink): void {
    if (sink.mark >= this.#lane) return;
    sink.mark = this.#lane;
    if (this.#lane === prompt) this.#prompt.push(sink);
    else this.#bulk.push(sink);
    this.#schedule();
  }

  /** What `work` marks is bulk. */
  inBulk(work: () => void): void {
    const lane = this.#lane;
    this.#lane = bulk;
    try {
      work();
    } finally {
      this.#lane = lane;
    }
  }

  /** Each sink of a crowd is about to be handed so many bytes more, in bulk. */
  gather(bytes: number): void {
    const place = this.#bulk.end;
    if (this.#milestones.at(-1)?.place === place) this.#milestones.pop();
    this.#milestones.push({ place, handed: this.#handed });
    this.#handed += bytes;
  }

  /** Whether crowds should be handed no more for now: the first in line has gathered enough and not had its turn. */
  get isBehind(): boolean {
    if (this.#bulk.isEmpty) return false;
    while (this.#milestones.length > 1 && this.#milestones[1]!.place <= this.#bulk.passed)
      this.#milestones.shift();
    return this.#handed - (this.#milestones[0]?.handed ?? this.#handed) >= maxGathered;
  }

  /** Writes now what a slice allows; the rest follows by itself. */
  flush(): void {
    const start = performance.now();
    this.#prompt.flush(prompt, start + (this.#bulk.isEmpty ? sliceMs : promptMs));
    this.#bulk.flush(bulk, start + sliceMs);
    if (!this.#prompt.isEmpty || !this.#bulk.isEmpty) this.#schedule();
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

/** Sinks in line. */
class Lane {
  #sinks: Sink[] = [];
  #next = 0;
  /** Places in line before the array's first. */
  #before = 0;

  get isEmpty(): boolean {
    return this.#next === this.#sinks.length;
  }

  /** How many have had their turn, ever, */
  get passed(): number {
    return this.#before + this.#next;
  }

  /** and how many will have had it when all who are in line have. */
  get end(): number {
    return this.#before + this.#sinks.length;
  }

  push(sink: Sink): void {
    this.#sinks.push(sink);
  }

  flush(mark: Mark, end: number): void {
    let written = 0;
    while (this.#next < this.#sinks.length) {
      const sink = this.#sinks[this.#next++]!;
      if (sink.mark !== mark) continue; // written in the other lane meanwhile
      sink.mark = 0;
      sink.flush();
      if (++written % stride === 0 && performance.now() >= end) break;
    }
    this.#before += this.#next;
    this.#sinks = this.isEmpty ? [] : this.#sinks.slice(this.#next);
    this.#next = 0;
  }
}
