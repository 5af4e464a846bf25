/* TokenBucket: so many a second, so many at once. */

export interface Rate {
  /** Tokens that come back each second. */
  perSecond: number;
  /** Tokens there are at most. */
  burst: number;
}

export class TokenBucket {
  readonly #rate: Rate;
  #tokens: number;
  #at: number;

  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#at = now;
  }

  /** Takes a token; 0 when there was one, else the ms until there is one. */
  take(now: number): number {
    this.#refill(now);
    if (this.#tokens >= 1) {
      this.#tokens--;
      return 0;
    }
    return Math.ceil(((1 - this.#tokens) / this.#rate.perSecond) * 1000);
  }

  /** Takes so many more for what was dearer than it should have been; what is not there is owed. */
  charge(tokens: number): void {
    this.#tokens = Math.max(this.#tokens - tokens, -this.#rate.burst);
  }

  /** Nothing was taken lately: forgetting it changes nothing. */
  isFull(now: number): boolean {
    this.#refill(now);
    return this.#tokens >= this.#rate.burst;
  }

  #refill(now: number): void {
    this.#tokens = Math.min(
      this.#rate.burst,
      this.#tokens + (Math.max(0, now - this.#at) / 1000) * this.#rate.perSecond,
    );
    this.#at = now;
  }
}
