/* UserConnections: how many connections each user has to this process. */

import { WhalesongError } from "../../protocol/index.ts";

/** The user has as many connections as one may have: this one ends. */
export class TooManyConnections extends WhalesongError {
  constructor(user: string, most: number) {
    super(
      "rate_limited",
      `user: ${user} has ${most} connections here, which is the most for one user: close some first`,
      { field: "user", retryAfterMs: 5_000 },
    );
  }
}

export class UserConnections {
  readonly #most: number;
  /** By folded handle. */
  readonly #counts = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** @throws TooManyConnections */
  enter(user: string): void {
    const count = this.#counts.get(user) ?? 0;
    if (count >= this.#most) throw new TooManyConnections(user, this.#most);
    this.#counts.set(user, count + 1);
  }

  leave(user: string): void {
    const count = this.#counts.get(user)! - 1;
    if (count > 0) this.#counts.set(user, count);
    else this.#counts.delete(user);
  }
}
