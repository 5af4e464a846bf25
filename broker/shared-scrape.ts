/* SharedScrape: metrics, made once for all who ask within a while.
 *
 * To make them costs a millisecond or two in every process of the broker, and whoever reaches the port may ask. Those who ask
 * while they are made, or soon after, get the same text. */

export class SharedScrape {
  readonly #make: () => Promise<string>;
  readonly #shareMs: number;
  #text: Promise<string> | undefined;
  #begunAt = 0;
  #isMade = false;

  /** @param shareMs how long after a text was begun it is given to others; with 0 each makes its own */
  constructor(make: () => Promise<string>, shareMs: number) {
    this.#make = make;
    this.#shareMs = shareMs;
  }

  text(): Promise<string> {
    if (this.#shareMs === 0) return this.#make();
    const now = performance.now();
    if (this.#text === undefined || (this.#isMade && now - this.#begunAt >= this.#shareMs)) {
      this.#begunAt = now;
      this.#isMade = false;
      const text = this.#make();
      this.#text = text;
      const settle = (value: Promise<string> | undefined): void => {
        this.#isMade = true;
        this.#text = value;
      };
      text.then(
        () => settle(text),
        () => settle(undefined), // a fault is told to those who met it, and to nobody after
      );
    }
    return this.#text;
  }
}
