/* Lane: requests of one kind that wait to be sent, in the order they were asked.
 *
 *   open --one is refused for its rate--> held --release()--> narrow --answers in a row--> open
 *                                          ^--------refused------'
 *
 * A refusal holds back everything that waits here, so that the rest does not run into the same refusal one by one. After the
 * hold one request is tried alone. Only a row of answers widens the window again, to twice as many each time. A refused
 * request goes back to its place, before those asked later.
 * Knows neither frames nor timers nor the broker: whoever holds it says what was sent, answered and refused. */

/** What a lane needs to know of a request. */
export interface InLane {
  readonly id: number;
  state: "waiting" | "sent" | "done";
}

/** Answers in a row after which the window is widened, or as many as it lets through, where that is more. */
const answersToWiden = 4;
/** A window this wide holds nobody back any more. */
const openWindow = 1_024;
/** Requests taken from the front of the queue before their room is given back. */
const spareItems = 4_096;

export class Lane<Item extends InLane> {
  /** Those that wait, from `#next` on; may hold some that are done meanwhile. */
  #queue: Item[] = [];
  #next = 0;
  #sent = 0;
  #window = Infinity;
  #answersInARow = 0;
  #heldUntilMs = -Infinity;
  #isHeld = false;
  #refusalsInARow = 0;

  /** A request asked now may be sent at once. */
  get isFree(): boolean {
    return this.#next === this.#queue.length && this.#mayRun;
  }

  /** The broker's rate is what requests here wait for. */
  get isHeldBack(): boolean {
    return this.#isHeld || this.#window !== Infinity;
  }

  /** Holds in a row without an answer between them. */
  get refusalsInARow(): number {
    return this.#refusalsInARow;
  }

  get #mayRun(): boolean {
    return !this.#isHeld && this.#sent < this.#window;
  }

  add(item: Item): void {
    this.#queue.push(item);
  }

  /** The request to send next; undefined when none waits or none may be sent. */
  peek(): Item | undefined {
    if (!this.#mayRun) return undefined;
    while (this.#next < this.#queue.length) {
      const item = this.#queue[this.#next] as Item;
      if (item.state === "waiting") return item;
      this.#next++;
    }
    this.#queue = [];
    this.#next = 0;
    return undefined;
  }

  /** `item`, which `peek` gave or for which the lane is free, is sent. */
  sent(item: Item): void {
    this.#sent++;
    if (this.#queue[this.#next] !== item) return;
    this.#next++;
    if (this.#next < spareItems) return;
    this.#queue = this.#queue.slice(this.#next);
    this.#next = 0;
  }

  /** A sent request has its answer. */
  answered(): void {
    this.#sent--;
    if (!this.isHeldBack) return;
    this.#refusalsInARow = 0;
    if (++this.#answersInARow < Math.max(answersToWiden, this.#window)) return;
    this.#answersInARow = 0;
    this.#window *= 2;
    if (this.#window >= openWindow) this.#window = Infinity;
  }

  /** A sent request will not be answered. */
  dropped(): void {
    this.#sent--;
  }

  /** A sent request was refused for its rate; `hold` follows. */
  refused(): void {
    this.#sent--;
    this.#answersInARow = 0;
    // The others of one flight are refused together with the first.
    if (this.#window !== 1 || !this.#isHeld) this.#refusalsInARow++;
    this.#window = 1;
  }

  /** None is sent before this time. Whether somebody has to `release` the lane then, whom nobody told yet. */
  hold(untilMs: number): boolean {
    const wasHeld = this.#isHeld;
    this.#heldUntilMs = Math.max(this.#heldUntilMs, untilMs);
    this.#isHeld = true;
    return !wasHeld;
  }

  /** Puts a refused request back to its place. */
  putBack(item: Item): void {
    let low = this.#next;
    let high = this.#queue.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#queue[middle] as Item).id < item.id) low = middle + 1;
      else high = middle;
    }
    this.#queue.splice(low, 0, item);
  }

  /** Ends the hold if it is time, or answers for how many milliseconds it goes on. */
  release(nowMs: number): number {
    const leftMs = this.#heldUntilMs - nowMs;
    if (leftMs > 0) return leftMs;
    this.#isHeld = false;
    return 0;
  }

  /** The session is gone: `waiting`, in the order of their ids, are all that wait, and nothing is sent. */
  restart(waiting: Item[]): void {
    this.#queue = waiting;
    this.#next = 0;
    this.#sent = 0;
  }
}
