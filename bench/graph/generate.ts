/* A follow graph of the shape that a real one was found to have.
 *
 *     followers of a user     median 1 and mean 40: the lognormal that has both, and whales planted on it
 *     follows of a reader     lognormal too, and some heavy readers planted
 *
 * The figures. The median account of Twitter had one follower (J. Bruner, "Tweets loud and quiet", O'Reilly Radar,
 * December 2013: a random sample of about 400,000 accounts). In July 2012 505 million accounts had 23 billion follows, 46 each
 * (M. Gabielkov, A. Rao, A. Legout, "Studying Social Networks at Scale: Macroscopic Anatomy of the Twitter Social Graph",
 * SIGMETRICS 2014). A lognormal has median e^μ and mean e^(μ + σ²/2): one curve gives both. Beyond 10^5 followers there
 * are more accounts than the fit of the rest predicts (H. Kwak, C. Lee, H. Park, S. Moon, "What is Twitter, a Social Network
 * or a News Media?", WWW 2010): so the whales are planted, not drawn.
 *
 * Median and mean are not left to chance: of the normal numbers drawn the median is taken off, and σ is then chosen so that the
 * mean is as asked for. The same seed gives the same graph. */

import { seededRandom } from "../../clients/cli/replay/random.ts";

export interface GraphOptions {
  users: number;
  meanFollowers: number;
  /** Followers of each planted whale. Whales are the users 0, 1, …; as many as there are users, at most. */
  whales: readonly number[];
  /** Follows of each planted heavy reader. They are the last users; of those who have a follower, at most. */
  heavyReaders: readonly number[];
  seed: number;
}

/** Who follows whom: user `i` follows `follows[offsets[i]] … follows[offsets[i + 1] - 1]`, each once, and not `i`. */
export interface Graph {
  users: number;
  offsets: Uint32Array;
  follows: Uint32Array;
  /** Followers of each user. */
  followers: Uint32Array;
}

/** σ of a lognormal with median 1 and a mean of some tens lies well within. */
const mostSigma = 12;
const sigmaSteps = 60;
/** Spread of how much readers follow: less than that of followers, whom nothing but fame limits. */
const readerSigma = 1.5;

export function generateGraph({ users, meanFollowers, whales, heavyReaders, seed }: GraphOptions): Graph {
  const random = seededRandom(seed);
  const followers = drawFollowers({ users, meanFollowers, whales, random });
  const heavy = heavyOf(followers, heavyReaders, random);
  const pick = weightedPicker(
    Float64Array.from({ length: users }, () => Math.exp(readerSigma * normal(random))),
    random,
  );
  const pairs = pairsOf({ followers, heavy, pick, random });
  return { users, followers, ...toRows(users, pairs) };
}

/** How many followers each user has. */
function drawFollowers(options: {
  users: number;
  meanFollowers: number;
  whales: readonly number[];
  random: () => number;
}): Uint32Array {
  const { users, meanFollowers, whales, random } = options;
  const most = users - 1;
  const planted = whales.slice(0, users).map((count) => Math.min(count, most));
  const normals = Float64Array.from({ length: users - planted.length }, () => normal(random));
  const middle = normals.toSorted()[normals.length >> 1] ?? 0;
  const target = meanFollowers * users - planted.reduce((sum, count) => sum + count, 0);
  const countsFor = (sigma: number): Uint32Array =>
    Uint32Array.from(normals, (each) => Math.min(most, Math.round(Math.exp(sigma * (each - middle)))));
  let [low, high] = [0, mostSigma];
  for (let i = 0; i < sigmaSteps; i++) {
    const sigma = (low + high) / 2;
    if (countsFor(sigma).reduce((sum, count) => sum + count, 0) < target) low = sigma;
    else high = sigma;
  }
  return Uint32Array.of(...planted, ...countsFor(low));
}

/** Whom the heavy readers follow: users who have a follower, so that nobody's count changes. By the followed user. */
function heavyOf(
  followers: Uint32Array,
  heavyReaders: readonly number[],
  random: () => number,
): Map<number, number[]> {
  const users = followers.length;
  const followed = [...followers.keys()].filter((user) => followers[user]! > 0);
  const byUser = new Map<number, number[]>();
  for (const [i, count] of heavyReaders.entries()) {
    const reader = users - 1 - i;
    if (reader < 0) break;
    shuffle(followed, random);
    let left = count;
    for (const user of followed) {
      if (left === 0) break;
      const readers = byUser.get(user) ?? [];
      if (user === reader || readers.length >= followers[user]!) continue;
      readers.push(reader);
      byUser.set(user, readers);
      left--;
    }
  }
  return byUser;
}

/** Every follow, as follower and followed in turn. */
function pairsOf(options: {
  followers: Uint32Array;
  heavy: ReadonlyMap<number, readonly number[]>;
  pick: () => number;
  random: () => number;
}): Uint32Array {
  const { followers, heavy, pick, random } = options;
  const users = followers.length;
  const total = followers.reduce((sum, count) => sum + count, 0);
  const pairs = new Uint32Array(2 * total);
  let at = 0;
  for (let user = 0; user < users; user++) {
    const count = followers[user]!;
    const chosen = new Set<number>(heavy.get(user));
    // Picking again and again what is chosen already takes long where nearly all are to be chosen.
    const picks = count > users / 4 ? inRandomOrder(users, random) : undefined;
    while (chosen.size < count) {
      const follower = picks === undefined ? pick() : picks.next().value!;
      if (follower !== user) chosen.add(follower);
    }
    for (const follower of chosen) {
      pairs[at++] = follower;
      pairs[at++] = user;
    }
  }
  return pairs;
}

function toRows(users: number, pairs: Uint32Array): Pick<Graph, "offsets" | "follows"> {
  const offsets = new Uint32Array(users + 1);
  for (let at = 0; at < pairs.length; at += 2) offsets[pairs[at]! + 1]!++;
  for (let user = 0; user < users; user++) offsets[user + 1]! += offsets[user]!;
  const next = offsets.slice();
  const follows = new Uint32Array(pairs.length / 2);
  for (let at = 0; at < pairs.length; at += 2) follows[next[pairs[at]!]!++] = pairs[at + 1]!;
  return { offsets, follows };
}

function* inRandomOrder(count: number, random: () => number): Generator<number, undefined, undefined> {
  yield* shuffle(
    Array.from({ length: count }, (_, i) => i),
    random,
  );
  return undefined;
}

function shuffle(numbers: number[], random: () => number): number[] {
  for (let at = numbers.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [numbers[at], numbers[other]] = [numbers[other]!, numbers[at]!];
  }
  return numbers;
}

/** A normal number, by Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Picks numbers by weight: a place in the running sum, found by halving. */
export function weightedPicker(weights: Float64Array, random: () => number): () => number {
  const sums = new Float64Array(weights.length);
  let sum = 0;
  for (const [i, weight] of weights.entries()) sums[i] = sum += weight;
  return () => {
    const place = random() * sum;
    let [low, high] = [0, sums.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! > place) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}
