/* Readings: what readers ask for once, read in steps that share the event loop with all other readers'.
 *
 *   run ──> a step: so many look-ups at most, in one synchronous stretch ──more──> its next turn (turns.ts)
 *                └──> the answer
 *
 * A reading is a generator that yields where its step's look-ups are spent. Each step begins with a fresh snapshot, so what was read
 * in an earlier one may be true no more: whoever writes a reading says what becomes of that. Its cost is counted, whatever comes
 * of it, for those who hold back users who ask for too much. */

import type { Offset, State } from "../state/index.ts";
import type { Lane, Turns } from "./turns.ts";

/** Look-ups in one step: 1 to 3 ms. */
const stepLookups = 256;

/** What a reading costs. One look-up is an entry, a place in a topic, or a relation read from the store: 2 to 10 µs. */
export class Work {
  /** Look-ups that are left in this step; less than 0 when the last took more than there were. */
  lookups: number;
  readonly #perStep: number;
  #steps = 1;
  #spentBefore = 0;

  /** `perStep` infinite: all is done in one step. */
  constructor(perStep = stepLookups) {
    this.#perStep = perStep;
    this.lookups = perStep;
  }

  get isOver(): boolean {
    return this.lookups <= 0;
  }

  /** Steps so far, this one included. */
  get steps(): number {
    return this.#steps;
  }

  /** Look-ups taken in all steps. */
  get spent(): number {
    return this.#spentBefore + this.#perStep - this.lookups;
  }

  take(lookups = 1): void {
    this.lookups -= lookups;
  }

  /** The next step begins. */
  renew(): void {
    this.#spentBefore = this.spent;
    this.lookups = this.#perStep;
    this.#steps++;
  }
}

export type Steps<T> = Generator<void, T, void>;

/** All of a reading in this very stretch of code. */
export function atOnce<T>(reading: (work: Work) => Steps<T>): T {
  const { value, done } = reading(new Work(Number.POSITIVE_INFINITY)).next();
  if (done !== true) throw new Error("a reading paused with look-ups left");
  return value;
}

export interface ReadingOptions {
  /** Called as each step begins, with the snapshot that it reads; throws when the reading is not to go on. */
  check?: (() => void) | undefined;
  /** Hears, once, how many look-ups it took, also when it failed. */
  onSpent?: ((lookups: number) => void) | undefined;
}

export interface Read<T> {
  result: T;
  /** The snapshot of its last step: what it read is durable once all up to here is. */
  applied: Offset;
}

interface Reading extends ReadingOptions {
  work: Work;
  steps: Steps<unknown>;
  resolve: (read: Read<never>) => void;
  reject: (error: unknown) => void;
}

export class Readings {
  readonly #state: State;
  readonly #lane: Lane<Reading>;

  constructor(state: State, turns: Turns) {
    this.#state = state;
    this.#lane = turns.lane((reading) => this.#step(reading));
  }

  /** Readings that wait for their next step. */
  get waiting(): number {
    return this.#lane.waiting;
  }

  /** @throws what the reading or its check throws */
  run<T>(steps: (work: Work) => Steps<T>, { check, onSpent }: ReadingOptions = {}): Promise<Read<T>> {
    return new Promise<Read<T>>((resolve, reject) => {
      const work = new Work();
      this.#lane.add({ work, steps: steps(work), check, onSpent, resolve, reject });
    });
  }

  #step(reading: Reading): void {
    const { work, steps, check, onSpent, resolve, reject } = reading;
    try {
      this.#state.refresh();
      check?.();
      const { value, done } = steps.next();
      if (done === true) {
        onSpent?.(work.spent);
        resolve({ result: value as never, applied: this.#state.applied() });
      } else {
        work.renew();
        this.#lane.add(reading);
      }
    } catch (error) {
      onSpent?.(work.spent);
      reject(error);
    }
  }
}
