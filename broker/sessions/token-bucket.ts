/* TokenBucket: so many a second, so many at once.
 *
 * What costs more than there are at most is let in when none is missing. What it comes to may be known afterwards alone: `spend`
 * takes it all the same, and nothing more is let in until that is made up for. */

export interface Rate {
  /** Tokens that come back each second. */
  perSecond: number;
  /** Tokens there are at most. */
  burst: number;
}

/** Bytes of a frame or a body for which it counts as one request more. */
const bytesPerRequest = 8_192;

/** As how many requests one counts that came as so many bytes, whatever becomes of it. */
export function weightOf(bytes: number): number {
  return 1 + Math.floor(bytes / bytesPerRequest);
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

  /** Takes `amount`; 0 when there was as much, else the ms until there is. */
  take(now: number, amount = 1): number {
    const waitMs = this.waitMs(now, amount);
    if (waitMs === 0) this.#tokens -= amount;
    return waitMs;
  }

  /** Takes what something has come to, be there as much or not: all of it is owed. */
  spend(now: number, amount: number): void {
    this.#refill(now);
    this.#tokens -= amount;
  }

  /** The ms until `amount` may be taken; 0 when it may be now. */
  waitMs(now: number, amount = 1): number {
    this.#refill(now);
    const missing = Math.min(amount, this.#rate.burst) - this.#tokens;
    return missing <= 0 ? 0 : Math.ceil((missing / this.#rate.perSecond) * 1000);
  }

  /** Takes so many more for what was dearer than it should have been; what is not there is owed, up to a whole burst. */
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
