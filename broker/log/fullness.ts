/* Fullness: whether the store may still grow.
 *
 * Looked at once a second, not on each command. A disk that fills up faster than that is told by the failing commit, which
 * changes nothing; this is what stops writes before it comes to that. */

import { statfs } from "node:fs/promises";

import type { State } from "../state/index.ts";

export interface FullnessLimits {
  /** Bytes of LMDB pages in use at most; undefined: as much as the disk holds. */
  maxStoreBytes?: number | undefined;
  /** Bytes that must stay free on the disk. */
  minFreeBytes: number;
}

export class Fullness {
  readonly #state: State;
  readonly #path: string;
  readonly #limits: FullnessLimits;
  readonly #onChange: (reason: string | undefined) => void;
  #reason: string | undefined;

  /** `onChange` hears when writes begin to be refused, with the reason, and when no longer. */
  constructor(
    state: State,
    path: string,
    { onChange, ...limits }: FullnessLimits & { onChange?: (reason: string | undefined) => void },
  ) {
    this.#onChange = onChange ?? ((): void => {});
    this.#state = state;
    this.#path = path;
    this.#limits = limits;
  }

  /** Why the store may not grow; undefined when it may. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Looks again. */
  async check(): Promise<void> {
    const before = this.#reason;
    this.#reason = this.#storeReason() ?? (await this.#diskReason());
    if ((before === undefined) !== (this.#reason === undefined)) this.#onChange(this.#reason);
  }

  #storeReason(): string | undefined {
    const { maxStoreBytes } = this.#limits;
    if (maxStoreBytes === undefined) return undefined;
    const { usedBytes } = this.#state.size();
    if (usedBytes < maxStoreBytes) return undefined;
    return `the store holds ${usedBytes} bytes, its limit is ${maxStoreBytes} (--max-store-bytes); raise it or shorten retention`;
  }

  async #diskReason(): Promise<string | undefined> {
    const { bavail, bsize } = await statfs(this.#path);
    const free = bavail * bsize;
    if (free >= this.#limits.minFreeBytes) return undefined;
    return `the disk has ${free} bytes free, the broker leaves ${this.#limits.minFreeBytes} (--min-free-bytes); make room`;
  }
}
