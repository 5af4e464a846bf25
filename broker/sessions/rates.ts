/* Rates: how fast one user may send commands, over all their connections, transports and worker processes. */

import { WhalesongError, fold } from "../../protocol/index.ts";
import { type Rate, TokenBucket } from "./token-bucket.ts";

/** Users whose bucket is kept; past it full buckets are forgotten, which changes nothing for them, then the oldest. */
const maxBuckets = 100_000;

export class Rates {
  readonly #rate: Rate;
  readonly #now: () => number;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(rate: Rate, now: () => number) {
    this.#rate = rate;
    this.#now = now;
  }

  /** @throws `rate_limited` */
  take(handle: string): void {
    const now = this.#now();
    const user = fold(handle);
    let bucket = this.#buckets.get(user);
    if (bucket === undefined) {
      if (this.#buckets.size >= maxBuckets) this.#forgetFull(now);
      bucket = new TokenBucket(this.#rate, now);
      this.#buckets.set(user, bucket);
    }
    const retryAfterMs = bucket.take(now);
    if (retryAfterMs > 0) {
      throw new WhalesongError(
        "rate_limited",
        `over ${this.#rate.perSecond} commands a second for this user; wait ${retryAfterMs} ms`,
        { retryAfterMs },
      );
    }
  }

  #forgetFull(now: number): void {
    for (const [user, bucket] of this.#buckets) if (bucket.isFull(now)) this.#buckets.delete(user);
    for (const user of this.#buckets.keys()) {
      if (this.#buckets.size < maxBuckets) break;
      this.#buckets.delete(user);
    }
  }
}
