/* Rates: how much one user may ask for, over all their connections, transports and worker processes.
 *
 *   commands   so many a second; a post that makes users by mentioning them counts as one more for each
 *   bytes      that their posts bring: text, data, mentions, tags and key
 *   reads      look-ups: what a read costs is known once it is done, so it is charged then, and the next one waits          */

import { WhalesongError, fold } from "../../protocol/index.ts";
import type { Command, State } from "../state/index.ts";
import { type Rate, TokenBucket } from "./token-bucket.ts";

/** Users whose buckets are kept; past it full ones are forgotten, which changes nothing for them, then the oldest. */
const maxUsers = 100_000;

export interface UserRates {
  /** Commands. */
  commands: Rate;
  /** Bytes that posts bring. */
  bytes: Rate;
  /** Look-ups of reads. */
  reads: Rate;
}

interface Buckets {
  readonly commands: TokenBucket;
  readonly bytes: TokenBucket;
  readonly reads: TokenBucket;
}

export class Rates {
  readonly #rates: UserRates;
  readonly #now: () => number;
  readonly #users = new Map<string, Buckets>();

  constructor(rates: UserRates, now: () => number) {
    this.#rates = rates;
    this.#now = now;
  }

  /** Takes a command that brings so many bytes, and counts as so many. @throws `rate_limited` */
  take(handle: string, bytes = 0, commands = 1): void {
    const now = this.#now();
    const buckets = this.#bucketsOf(handle, now);
    const waitMs = buckets.commands.take(now, commands);
    if (waitMs > 0) throw overRate(`${this.#rates.commands.perSecond} commands`, waitMs);
    if (bytes === 0) return;
    const bytesWaitMs = buckets.bytes.take(now, bytes);
    if (bytesWaitMs > 0) throw overRate(`${this.#rates.bytes.perSecond} bytes of posts`, bytesWaitMs);
  }

  /** @throws `rate_limited` while the user's reads came to more than they may */
  admit(handle: string): void {
    const now = this.#now();
    const waitMs = this.#bucketsOf(handle, now).reads.waitMs(now);
    if (waitMs > 0) throw readTooMuch(waitMs);
  }

  /** Takes what a read has cost. Returns for how many ms the user's next one has to wait. */
  spend(handle: string, lookups: number): number {
    const now = this.#now();
    const { reads } = this.#bucketsOf(handle, now);
    reads.spend(now, lookups);
    return reads.waitMs(now);
  }

  #bucketsOf(handle: string, now: number): Buckets {
    const user = fold(handle);
    let buckets = this.#users.get(user);
    if (buckets === undefined) {
      if (this.#users.size >= maxUsers) this.#forgetFull(now);
      const { commands, bytes, reads } = this.#rates;
      buckets = {
        commands: new TokenBucket(commands, now),
        bytes: new TokenBucket(bytes, now),
        reads: new TokenBucket(reads, now),
      };
      this.#users.set(user, buckets);
    }
    return buckets;
  }

  #forgetFull(now: number): void {
    for (const [user, { commands, bytes, reads }] of this.#users)
      if (commands.isFull(now) && bytes.isFull(now) && reads.isFull(now)) this.#users.delete(user);
    for (const user of this.#users.keys()) {
      if (this.#users.size < maxUsers) break;
      this.#users.delete(user);
    }
  }
}

/** As how many commands one counts. Users that a post makes stay as long as it does, so each costs what it costs to make one otherwise. */
export function commandsIn(command: Command, users: Pick<State["users"], "find">): number {
  if (command.op !== "post") return 1;
  let count = 1;
  for (const handle of command.mentions) if (users.find(handle) === undefined) count++;
  return count;
}

export function readTooMuch(waitMs: number): WhalesongError {
  return new WhalesongError(
    "rate_limited",
    `what this user has read looked at more than they may; wait ${waitMs} ms, and read less at a time`,
    { retryAfterMs: waitMs },
  );
}

function overRate(rate: string, waitMs: number): WhalesongError {
  return new WhalesongError("rate_limited", `over ${rate} a second for this user; wait ${waitMs} ms`, {
    retryAfterMs: waitMs,
  });
}
