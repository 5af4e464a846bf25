/* Complaints: what is said once and not again for a while, however often it is true. Knows no logger. */

/** The same is said once in so long, in ms. */
const quietMs = 60_000;
/** Complaints remembered; past it all are forgotten. */
const maxRemembered = 1_000;

export class Complaints {
  readonly #now: () => number;
  readonly #saidAt = new Map<string, number>();

  /** `now` is in ms, of a clock that does not jump. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether `what` is to be said now. */
  isDue(what: string): boolean {
    const now = this.#now();
    if (now - (this.#saidAt.get(what) ?? -Infinity) < quietMs) return false;
    if (this.#saidAt.size >= maxRemembered) this.#saidAt.clear();
    this.#saidAt.set(what, now);
    return true;
  }
}
