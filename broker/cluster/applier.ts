/* Applier: keeps what is read of the log and what is applied of it apart by one transaction at most. */

import type { Batch } from "./batch.ts";
import type { LogMessage } from "./stream.ts";

/** Commands read ahead of the transaction under way, and then applied in one, about: few enough to keep the event loop free, and for a
 *  node that serves nobody yet many enough that commits are few. */
const maxCommit = 512;
const maxCommitBehind = 4_096;

/** A message of the log and what it holds. */
export interface Received extends LogMessage {
  batch: Batch;
}

export interface ApplierOptions {
  /** Whether there is far to go before this node serves. */
  isCatchingUp: () => boolean;
  onFailure: () => void;
}

/** Applies what it is given, in order: at once, and what comes meanwhile together after it. */
export class Applier {
  readonly #apply: (received: Received[]) => Promise<void>;
  readonly #options: ApplierOptions;
  #ahead: Received[] = [];
  #commands = 0;
  #applying: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;

  constructor(apply: (received: Received[]) => Promise<void>, options: ApplierOptions) {
    this.#apply = apply;
    this.#options = options;
  }

  /** Settles at once, unless enough waits for a transaction of its own. */
  async add(received: Received): Promise<void> {
    this.#ahead.push(received);
    this.#commands += received.batch.commands.length;
    this.#applying ??= this.#applyAll();
    if (this.#commands >= (this.#options.isCatchingUp() ? maxCommitBehind : maxCommit)) await this.#applying;
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
      this.#options.onFailure();
    }
  }
}
