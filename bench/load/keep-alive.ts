/* Keep-alive: whose turn it is to say that they are there, of many who all have one turn a round.
 *
 * By the clock and not by the tick: what comes late has all turns that were due meanwhile, so that a load which hangs for
 * a while makes nobody miss theirs. While the many become more nobody waits longer than a round. */

export class KeepAlive {
  readonly #roundMs: number;
  #atMs: number;
  /** The part of the round that is over, */
  #part = 0;
  /** and who is next in it. */
  #next = 0;

  constructor(roundMs: number, nowMs: number) {
    this.#roundMs = roundMs;
    this.#atMs = nowMs;
  }

  /** Calls `take` for each of `count` whose turn has come since the time before. */
  advance(nowMs: number, count: number, take: (index: number) => void): void {
    const part = this.#part + (nowMs - this.#atMs) / this.#roundMs;
    this.#atMs = nowMs;
    this.#part = part % 1;
    const end = Math.floor(count * this.#part);
    if (part < 1) takeAll(this.#next, end, take);
    else {
      takeAll(this.#next, count, take);
      takeAll(0, part < 2 ? end : this.#next, take); // late by a round or more: one turn for each will do
    }
    this.#next = part < 1 ? Math.max(this.#next, end) : end;
  }
}

function takeAll(from: number, end: number, take: (index: number) => void): void {
  for (let i = from; i < end; i++) take(i);
}
