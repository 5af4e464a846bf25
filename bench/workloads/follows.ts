/* Follows: who reads whom, as flat arrays; made from a seed, the same each time. */

import { sample, seededRandom } from "../../clients/cli/replay/random.ts";
import type { Follows } from "../load/crowd.ts";

/** Every reader follows the one author. */
export function followOne(readers: number): Follows {
  return {
    first: 0,
    offsets: Uint32Array.from({ length: readers + 1 }, (_, i) => i),
    topics: new Uint32Array(readers),
  };
}

/** Every reader follows `each` of the authors, chosen at random. */
export function followAtRandom(options: {
  readers: number;
  authors: number;
  each: number;
  seed: number;
}): Follows {
  const { readers, authors, seed } = options;
  const each = Math.min(options.each, authors);
  const random = seededRandom(seed);
  const topics = new Uint32Array(readers * each);
  for (let reader = 0; reader < readers; reader++) topics.set(sample(each, authors, random), reader * each);
  return { first: 0, offsets: Uint32Array.from({ length: readers + 1 }, (_, i) => i * each), topics };
}

/** Nobody reads anything. */
export function followNobody(): Follows {
  return { first: 0, offsets: new Uint32Array(1), topics: new Uint32Array() };
}

/** Those of the readers from `from` up to `to`, in the order of the row. */
export function sliceFollows({ first, offsets, topics }: Follows, from: number, to: number): Follows {
  const start = offsets[from]!;
  return {
    first: first + from,
    offsets: offsets.slice(from, to + 1).map((offset) => offset - start),
    topics: topics.slice(start, offsets[to]),
  };
}

/** The same, shared out in rows of almost equal length. */
export function splitFollows(follows: Follows, shares: number): Follows[] {
  const readers = follows.offsets.length - 1;
  return Array.from({ length: shares }, (_, i) =>
    sliceFollows(follows, Math.floor((readers * i) / shares), Math.floor((readers * (i + 1)) / shares)),
  );
}

/** Authors in turn, each as often as the others, in an order that has nothing to do with their numbers. */
export function evenSchedule(authors: number, seed: number): Uint32Array {
  return Uint32Array.from(sample(authors, authors, seededRandom(seed)));
}
