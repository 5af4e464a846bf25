/* Intake: where a principal's requests are held to their user's rates, and their commands go to the log.
 *
 * A user's rates are those of the whole broker, so they are kept where the log is: here, or in the process that applies. */

import type { Log } from "../log/log.ts";
import type { Command, Outcome, State } from "../state/index.ts";
import type { Principal } from "./principal.ts";
import { type Rates, commandsIn } from "./rates.ts";

export interface Intake {
  /** Takes the command over, and settles with the outcome once it is durable. `bytes`: what a post brings.
   *  @throws WhalesongError `rate_limited`, and what the log throws */
  append(command: Command, principal: Principal, bytes?: number): Promise<Outcome>;
  /** Counts something that is no command against the rate as if it were one. @throws WhalesongError `rate_limited` */
  take(principal: Principal): void | Promise<void>;
  /** Before a read. @throws WhalesongError `rate_limited` while those before came to more than the user may */
  admit(principal: Principal): void;
  /** A read has cost so many look-ups. */
  spend(principal: Principal, lookups: number): void;
}

/** The intake of the process that has the log. */
export class LocalIntake implements Intake {
  readonly #log: Pick<Log, "append">;
  readonly #rates: Rates;
  readonly #state: Pick<State, "users">;

  constructor(log: Pick<Log, "append">, rates: Rates, state: Pick<State, "users">) {
    this.#log = log;
    this.#rates = rates;
    this.#state = state;
  }

  append(command: Command, principal: Principal, bytes = 0): Promise<Outcome> {
    if (isRated(principal)) this.#rates.take(principal.user, bytes, commandsIn(command, this.#state.users));
    return this.#log.append(command);
  }

  take(principal: Principal): void {
    if (isRated(principal)) this.#rates.take(principal.user);
  }

  admit(principal: Principal): void {
    if (isRated(principal)) this.#rates.admit(principal.user);
  }

  spend(principal: Principal, lookups: number): void {
    if (isRated(principal)) this.#rates.spend(principal.user, lookups);
  }
}

/** A principal with the scope `backend` speaks for many users and is trusted to hold itself back: it is not limited. */
export function isRated(principal: Principal): boolean {
  return !principal.scopes.has("backend");
}
