/* InteractionGraph: who follows whom, read from interactions.
 *
 * A follows B when A reposted, mentioned or answered B at least once, and is not B. Users are numbered in the order
 * in which they appear; a follow is one number, so that half a million of them cost little:
 *
 *     follower × 2^26 + followed */

import assert from "node:assert";

import { fold } from "../../../protocol/names.ts";
import type { Interaction } from "./interactions.ts";

/** Users and published entries are numbered below this, so that a pair of them is one exact number. */
export const numberSpan = 2 ** 26;

export class InteractionGraph {
  /** Handles by user number. */
  readonly handles: string[] = [];
  /** Interactions added. */
  interactions = 0;
  readonly #numbers = new Map<string, number>();
  readonly #follows = new Set<number>();
  readonly #mentions: number[] = [];

  add({ actor, target, kind }: Interaction): void {
    this.interactions++;
    const a = this.#intern(actor);
    const b = this.#intern(target);
    if (a === b) return;
    this.#follows.add(a * numberSpan + b);
    if (kind === "MT") this.#mentions[b] = (this.#mentions[b] ?? 0) + 1;
  }

  get userCount(): number {
    return this.handles.length;
  }

  get followCount(): number {
    return this.#follows.size;
  }

  /** A user's number. The user must have been added. */
  numberOf(handle: string): number {
    const number = this.#numbers.get(fold(handle));
    assert(number !== undefined, `user ${handle} was added`);
    return number;
  }

  handleOf(user: number): string {
    const handle = this.handles[user];
    assert(handle !== undefined, `user number ${user} was given out`);
    return handle;
  }

  /** Every follow once, in the order in which they first appeared. */
  *follows(): Generator<{ follower: number; followed: number }, void, undefined> {
    for (const pair of this.#follows) {
      yield { follower: Math.floor(pair / numberSpan), followed: pair % numberSpan };
    }
  }

  /** Whom each of `readers` follows. */
  followedBy(readers: Iterable<number>): Map<number, Set<number>> {
    const followed = new Map<number, Set<number>>();
    for (const reader of readers) followed.set(reader, new Set());
    for (const follow of this.follows()) followed.get(follow.follower)?.add(follow.followed);
    return followed;
  }

  /** The `count` users whom others mention most, the most mentioned first. */
  mostMentioned(count: number): number[] {
    return [...this.#mentions.keys()]
      .filter((user) => (this.#mentions[user] ?? 0) > 0)
      .sort((a, b) => (this.#mentions[b] ?? 0) - (this.#mentions[a] ?? 0) || a - b)
      .slice(0, count);
  }

  #intern(handle: string): number {
    const name = fold(handle);
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.handles.length;
    assert(number < numberSpan, `at most ${numberSpan} users`);
    this.#numbers.set(name, number);
    this.handles.push(handle);
    return number;
  }
}
