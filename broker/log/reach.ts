/* Reach: waits for a shared log to come to an offset that another node has reached before.
 *
 * A position that no node has reached can be waited for in vain, and clients can make one up: so each wait ends after some
 * seconds, and no more than so many wait at a time. */

import { WhalesongError } from "../../protocol/index.ts";
import type { Offset } from "../state/index.ts";
import type { Log } from "./log.ts";

/** How long an offset is waited for, in ms. */
const reachMs = 5_000;
/** Waits at a time; whoever comes when there are so many does not wait. */
const maxWaits = 10_000;

interface Wait {
  offset: Offset;
  resolve: () => void;
}

export interface ReachOptions {
  log: Pick<Log, "durable" | "whenDurable">;
  /** Why this node does not keep up with the others, where that is known. */
  lagging: () => string | undefined;
  /** @default 5,000 */
  reachMs?: number;
}

export class Reach {
  readonly #options: ReachOptions;
  readonly #waits = new Set<Wait>();
  #isWatching = false;

  constructor(options: ReachOptions) {
    this.#options = options;
  }

  /** As `Log.reach`. @throws WhalesongError `unavailable` when it was not reached and the node is lagging */
  to(offset: Offset): Promise<void> | undefined {
    if (offset <= this.#options.log.durable || this.#waits.size >= maxWaits) return undefined;
    return this.#wait(offset);
  }

  async #wait(offset: Offset): Promise<void> {
    const { log, lagging } = this.#options;
    await new Promise<void>((resolve) => {
      const wait: Wait = {
        offset,
        resolve: () => {
          clearTimeout(timer);
          this.#waits.delete(wait);
          resolve();
        },
      };
      const timer = setTimeout(wait.resolve, this.#options.reachMs ?? reachMs);
      this.#waits.add(wait);
      this.#watch();
    });
    if (offset <= log.durable) return;
    const reason = lagging();
    if (reason !== undefined)
      throw new WhalesongError(
        "unavailable",
        `this node is behind the position it was given: ${reason}; try again, or another node`,
      );
  }

  /** One callback of the log at a time, however many wait: those who give up leave nothing behind there. */
  #watch(): void {
    if (this.#isWatching || this.#waits.size === 0) return;
    this.#isWatching = true;
    const { log } = this.#options;
    log.whenDurable(log.durable + 1, () => {
      this.#isWatching = false;
      for (const wait of this.#waits) if (wait.offset <= log.durable) wait.resolve();
      this.#watch();
    });
  }
}
