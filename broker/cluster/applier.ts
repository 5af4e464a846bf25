/* Applier: keeps what is read of the log and what is applied of it apart by one transaction at most. */

import type { Batch } from "./batch.ts";
import type { LogMessage } from "./stream.ts";

/** Commands read ahead of the transaction under way, and then applied in one, about. */
const maxCommit = 512;

/** A message of the log and what it holds. */
export interface Received extends LogMessage {
  batch: Batch;
}

/** Applies what it is given, in order: at once, and what comes meanwhile together after it. */
export class Applier {
  readonly #apply: (received: Received[]) => Promise<void>;
  readonly #onFailure: () => void;
  #ahead: Received[] = [];
  #commands = 0;
  #applying: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;

  constructor(apply: (received: Received[]) => Promise<void>, onFailure: () => void) {
    this.#apply = apply;
    this.#onFailure = onFailure;
  }

  /** Settles at once, unless enough waits for a transaction of its own. */
  async add(received: Received): Promise<void> {
    this.#ahead.push(received);
    this.#commands += received.batch.commands.length;
    this.#applying ??= this.#applyAll();
    if (this.#commands >= maxCommit) await this.#applying;
  }

  /** Settles when all it was given is applied. @throws what `apply` threw; what came after that is not applied */
  async settled(): Promise<void> {
    await this.#applying;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #applyAll(): Promise<void> {
    try {
      while (this.#ahead.length > 0) {
        const received = this.#ahead;
        this.#ahead = [];
        this.#commands = 0;
        await this.#apply(received);
      }
      this.#applying = undefined;
    } catch (error) {
      this.#failure = { error };
      this.#onFailure();
    }
  }
}
