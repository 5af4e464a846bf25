/* Intake: the way of a principal's commands to the log, at no more than their user's rate.
 *
 * A user's rate is one for the whole broker, so it is taken where the log is: here, or by the process that applies. */

import type { Log } from "../log/log.ts";
import type { Command, Outcome } from "../state/index.ts";
import type { Principal } from "./principal.ts";
import type { Rates } from "./rates.ts";

export interface Intake {
  /** Takes the command over, and settles with the outcome once it is durable. @throws WhalesongError `rate_limited`, and what the log throws */
  append(command: Command, principal: Principal): Promise<Outcome>;
  /** Counts something that is no command against the rate as if it were one. @throws WhalesongError `rate_limited` */
  take(principal: Principal): void | Promise<void>;
}

/** The intake of the process that has the log. */
export class LocalIntake implements Intake {
  readonly #log: Pick<Log, "append">;
  readonly #rates: Rates;

  constructor(log: Pick<Log, "append">, rates: Rates) {
    this.#log = log;
    this.#rates = rates;
  }

  append(command: Command, principal: Principal): Promise<Outcome> {
    if (isRated(principal)) this.#rates.take(principal.user);
    return this.#log.append(command);
  }

  take(principal: Principal): void {
    if (isRated(principal)) this.#rates.take(principal.user);
  }
}

/** A principal with the scope `backend` speaks for many users and is trusted to hold itself back: it is not limited. */
export function isRated(principal: Principal): boolean {
  return !principal.scopes.has("backend");
}
