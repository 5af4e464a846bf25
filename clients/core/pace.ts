/* Pace: how fast commands may be sent without a refusal, as far as the broker's rates tell.
 *
 * A bucket like the broker's own, a little smaller and slower, so that it runs dry first whatever the network does between the two. What is sent
 * within it is not refused, and so is not overtaken by what is sent behind it. Another client of the same user takes from
 * the broker's bucket too: then a refusal says so, and `empty` is called. */

import type { RateLimits } from "../../protocol/limits.ts";

/** The part of the broker's rate that is used. */
const share = 0.95;
/** What is left of the broker's burst: as much as comes back in this time, and half of it at most. So long the first commands may be
 *  under way, and the later ones overtake that delay. */
const reserveMs = 1_000;

export class Pace {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  private constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perMs = (perSecond * share) / 1_000;
    this.#burst = Math.max(1, burst - Math.min(burst / 2, (perSecond * reserveMs) / 1_000));
    this.#tokens = this.#burst;
    this.#atMs = nowMs;
  }

  /** The pace for a session's rates; undefined for one that has none. `before` is the last session's, and what it spent counts on. */
  static of(rates: RateLimits, nowMs: number, before: Pace | undefined): Pace | undefined {
    const perSecond = Math.min(rates.userRate ?? Infinity, rates.connectionRate ?? Infinity);
    const burst = Math.min(rates.userBurst ?? Infinity, rates.connectionBurst ?? Infinity);
    if (!(perSecond > 0) || !Number.isFinite(perSecond) || !Number.isFinite(burst)) return undefined;
    const pace = new Pace(perSecond, burst, nowMs);
    if (before !== undefined) pace.#tokens = Math.min(pace.#burst, before.#refilled(nowMs));
    return pace;
  }

  /** A command is sent. After how many milliseconds the next may be. */
  spend(nowMs: number): number {
    this.#tokens = this.#refilled(nowMs) - 1;
    this.#atMs = nowMs;
    return this.#tokens >= 1 ? 0 : (1 - this.#tokens) / this.#perMs;
  }

  /** The broker refused a command. */
  empty(nowMs: number): void {
    this.#tokens = Math.min(0, this.#refilled(nowMs));
    this.#atMs = nowMs;
  }

  #refilled(nowMs: number): number {
    return Math.min(this.#burst, this.#tokens + Math.max(0, nowMs - this.#atMs) * this.#perMs);
  }
}
