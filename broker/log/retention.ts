/* Retention: moves the floor, in small steps.
 *
 * Decides from the clock what is to go, nothing while that is in doubt, and appends it as `trim` commands, each for a few hundred entries, so that a day's
 * worth of posts that expires at once holds up nobody. Publish keys past their life go the same way. */

import { type Offset, type State, publishKeyLifeMs } from "../state/index.ts";
import type { Log } from "./log.ts";

/** More than so many offsets over the count before any go: a trim takes an offset itself, and must not make the next one due. */
const leastSlack = 16;
/** Entries removed in one transaction. */
const trimEntries = 500;

export interface RetentionPolicy {
  /** Entries older than this go, in ms; undefined: none for their age. */
  ageMs?: number | undefined;
  /** All but the newest so many offsets go, give or take a hundredth; undefined: none for their number. */
  count?: number | undefined;
}

export class Retention {
  readonly #state: State;
  readonly #log: Pick<Log, "append" | "durable">;
  readonly #policy: RetentionPolicy;
  readonly #now: () => number | undefined;
  #isRunning = false;
  #isStopped = false;

  constructor(
    state: State,
    log: Pick<Log, "append" | "durable">,
    policy: RetentionPolicy,
    /** The time that ages count to, in ms since the Unix epoch; undefined while it is in doubt. */
    now: () => number | undefined,
  ) {
    this.#state = state;
    this.#log = log;
    this.#policy = policy;
    this.#now = now;
  }

  /** Removes all that is due. Called every second or so; a call while one is at work does nothing. */
  async run(): Promise<void> {
    if (this.#isRunning || this.#isStopped) return;
    this.#isRunning = true;
    try {
      const now = this.#now();
      if (now === undefined) return; // nor is a trim taken then
      const floor = Math.max(this.#floorByCount(), this.#floorByAge(now));
      while (
        !this.#isStopped &&
        (this.#state.meta.floor < floor || this.#areKeysDue(now) || this.#areUsersDue())
      )
        await this.#trim(floor);
    } finally {
      this.#isRunning = false;
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #trim(floor: Offset): Promise<void> {
    const { error } = await this.#log.append({ op: "trim", floor, most: trimEntries });
    if (error !== undefined) throw error;
  }

  #areKeysDue(now: number): boolean {
    return this.#state.publishKeys.anyBefore(now - publishKeyLifeMs);
  }

  /** Who waited for keys that have gone since. */
  #areUsersDue(): boolean {
    const { unclaimed, publishKeys } = this.#state;
    return unclaimed.anyHolder(publishKeys.firstInForce());
  }

  /** With some slack, since each trim is itself a command and moves the head by one. */
  #floorByCount(): Offset {
    const { count } = this.#policy;
    if (count === undefined) return 0;
    const floor = this.#log.durable - count;
    return floor - this.#state.meta.floor >= Math.max(leastSlack, count / 100) ? floor : 0;
  }

  /** The last offset that is old enough to go. Times grow with offsets, so it is found by halving. Where a clock was wrong and its time
   *  was set back, some are later than those behind them: then what is found is old enough all the same, and perhaps not all that is. */
  #floorByAge(now: number): Offset {
    if (this.#policy.ageMs === undefined) return 0;
    const oldest = now - this.#policy.ageMs;
    let gone = this.#state.meta.floor; // all up to here is old enough
    let kept = this.#log.durable + 1; // this and all after it is not
    while (kept - gone > 1) {
      const middle = gone + Math.floor((kept - gone) / 2);
      const entry = this.#state.firstEntryAfter(middle - 1);
      if (entry === undefined || entry.offset >= kept) kept = middle;
      else if (entry.at < oldest) gone = entry.offset;
      else kept = middle;
    }
    return gone;
  }
}
