/* Random: the same choice for the same seed. */

/** Numbers in [0, 1) from a 32-bit seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` different numbers below `below`, or all of them when there are fewer. */
export function sample(count: number, below: number, random: () => number): number[] {
  const numbers = Uint32Array.from({ length: below }, (_, index) => index);
  const taken = Math.min(count, below);
  for (let at = 0; at < taken; at++) {
    const other = at + Math.floor(random() * (below - at));
    const chosen = numbers[other] ?? 0;
    numbers[other] = numbers[at] ?? 0;
    numbers[at] = chosen;
  }
  return [...numbers.subarray(0, taken)];
}
