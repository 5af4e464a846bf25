/* InFlight: so many requests unanswered at once, and no more.
 *
 * For one caller, who starts one task after the other. The first failure stops the rest: it is thrown where the next request would start, or at the end. */

export class InFlight {
  readonly #most: number;
  #count = 0;
  #error: unknown;
  #failed = false;
  #wake: (() => void) | undefined;

  /** @param most unanswered requests, 1 or more */
  constructor(most: number) {
    this.#most = most;
  }

  /** Waits for room, then starts `task`; does not wait for its end. @throws what an earlier task threw */
  async start(task: () => Promise<void>): Promise<void> {
    while (this.#count >= this.#most && !this.#failed) await this.#change();
    this.#throwFailure();
    this.#count++;
    void task().then(
      () => this.#end(),
      (error: unknown) => {
        if (!this.#failed) this.#error = error;
        this.#failed = true;
        this.#end();
      },
    );
  }

  /** Waits until nothing is unanswered. @throws what a task threw */
  async drain(): Promise<void> {
    while (this.#count > 0 && !this.#failed) await this.#change();
    this.#throwFailure();
  }

  #throwFailure(): void {
    if (this.#failed) throw this.#error;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #end(): void {
    this.#count--;
    this.#wake?.();
    this.#wake = undefined;
  }
}
