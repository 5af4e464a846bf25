/* Random: a seeded sequence, the same for the same seed. */

export class Random {
  readonly seed: number;
  #state: number;

  /** The seed of the environment's WHALESONG_SEED, or a new one. */
  static seeded(): Random {
    return new Random(Number(process.env["WHALESONG_SEED"] ?? Math.floor(Math.random() * 2 ** 32)));
  }

  constructor(seed: number) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1): mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to `end` - 1. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error("nothing to pick from");
    return items[this.below(items.length)] as T;
  }

  /** A sequence of its own, for what goes on beside: how the two interleave then changes neither. */
  fork(): Random {
    return new Random(this.below(2 ** 32));
  }

  /** Some of `items`, in their order, each with the same chance. */
  some<T>(items: readonly T[], probability: number): T[] {
    return items.filter(() => this.chance(probability));
  }
}
