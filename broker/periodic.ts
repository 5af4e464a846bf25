/* Periodic: work done by the clock, for as long as its owner runs. A failure is logged and does not end it. */

import type { Logger } from "./logger.ts";

export class Periodic {
  readonly #logger: Logger;
  readonly #timers: NodeJS.Timeout[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  every(ms: number, work: () => unknown): void {
    const run = async (): Promise<void> => {
      try {
        await work();
      } catch (error) {
        this.#logger.error({ err: error }, "periodic work failed");
      }
    };
    const timer = setInterval(() => void run(), ms);
    timer.unref();
    this.#timers.push(timer);
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
  }
}
