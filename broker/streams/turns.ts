/* Turns: what is done for readers shares the event loop in slices.
 *
 *   catch-up   ▒ ▒ ▒ ▒      a lane each, first come first served
 *   pages      ▒ ▒          one step of each lane in turn, until the slice is over; then the event loop turns
 *
 * A step takes a few ms at most, whoever asked for it: what takes longer is added again, behind the others of its lane. So ten
 * thousand resuming readers do not hold up one publish, nor one page, and a costly page holds up neither. */

/** How long steps may hold the event loop, in ms. */
const sliceMs = 5;

export class Turns {
  readonly #lanes: Pick<Lane<unknown>, "step" | "waiting">[] = [];
  #isRunning = false;

  /** A lane, whose items are handed to `step` one by one, each in a later turn of the event loop than it was added in. */
  lane<T>(step: (item: T) => void): Lane<T> {
    const lane = new Lane<T>(step, () => this.#start());
    this.#lanes.push(lane);
    return lane;
  }

  #start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    setImmediate(() => this.#slice());
  }

  #slice(): void {
    const end = performance.now() + sliceMs;
    let isMore = true;
    while (isMore && performance.now() < end) {
      isMore = false;
      for (const lane of this.#lanes) if (lane.step()) isMore = true;
    }
    this.#isRunning = this.#lanes.some(({ waiting }) => waiting > 0);
    if (this.#isRunning) setImmediate(() => this.#slice());
  }
}

export class Lane<T> {
  readonly #step: (item: T) => void;
  readonly #onAdded: () => void;
  #items: T[] = [];
  #taken = 0;

  constructor(step: (item: T) => void, onAdded: () => void) {
    this.#step = step;
    this.#onAdded = onAdded;
  }

  /** Items that wait for their turn. */
  get waiting(): number {
    return this.#items.length - this.#taken;
  }

  add(item: T): void {
    this.#items.push(item);
    this.#onAdded();
  }

  /** Takes the next item's step. False when there is none. */
  step(): boolean {
    if (this.#taken === this.#items.length) return false;
    const item = this.#items[this.#taken++]!;
    if (this.#taken === this.#items.length || this.#taken === maxTaken) {
      this.#items = this.#items.slice(this.#taken);
      this.#taken = 0;
    }
    this.#step(item);
    return true;
  }
}

/** Items taken that a lane keeps at most. */
const maxTaken = 1_024;
