/* RemoteIntake: the intake as a worker has it. The process that applies keeps the users' rates.
 *
 *   command ──> [append] ──> rated there
 *   read    ──> answered here ──> [spent] ──> counted there ──> [hold] to all workers, once it came to too much
 *
 * A read asks nobody: what it cost is told, and a user is held back here while the other process has said so. In the moment that
 * takes, they may read more than they should by what was under way. */

import { fold } from "../../protocol/index.ts";
import { type Intake, type Principal, isRated, readTooMuch } from "../sessions/index.ts";
import type { Command, Outcome } from "../state/index.ts";
import type { FromWorker } from "./messages.ts";
import type { RemoteLog } from "./remote-log.ts";

/** Users held back at a time; past it those are let go whose time is over, then the oldest. */
const maxHeld = 100_000;

export interface RemoteIntakeOptions {
  log: Pick<RemoteLog, "append">;
  send: (message: FromWorker) => void;
  /** Has the process that applies take something off a user's rate, as if it were a command. */
  take: (user: string) => Promise<void>;
  /** ms of a clock that never jumps. */
  now: () => number;
}

export class RemoteIntake implements Intake {
  readonly #options: RemoteIntakeOptions;
  /** Until when. */
  readonly #held = new Map<string, number>();

  constructor(options: RemoteIntakeOptions) {
    this.#options = options;
  }

  append(command: Command, principal: Principal, bytes = 0): Promise<Outcome> {
    return this.#options.log.append(command, isRated(principal) ? bytes : undefined);
  }

  async take(principal: Principal): Promise<void> {
    if (isRated(principal)) await this.#options.take(principal.user);
  }

  admit(principal: Principal): void {
    if (this.#held.size === 0 || !isRated(principal)) return;
    const user = fold(principal.user);
    const leftMs = (this.#held.get(user) ?? 0) - this.#options.now();
    if (leftMs > 0) throw readTooMuch(Math.ceil(leftMs));
    this.#held.delete(user);
  }

  spend(principal: Principal, lookups: number): void {
    if (isRated(principal)) this.#options.send(["spent", principal.user, lookups]);
  }

  /** The process that applies says that a user is to read nothing for so long. */
  hold(user: string, ms: number): void {
    const now = this.#options.now();
    if (this.#held.size >= maxHeld) this.#letGo(now);
    this.#held.set(fold(user), now + ms);
  }

  #letGo(now: number): void {
    for (const [user, until] of this.#held) if (until <= now) this.#held.delete(user);
    for (const user of this.#held.keys()) {
      if (this.#held.size < maxHeld) break;
      this.#held.delete(user);
    }
  }
}
