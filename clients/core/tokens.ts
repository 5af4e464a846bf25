/* TokenRenewal: a session outlives its token.
 *
 * A tenth of the token's life before it expires, and 30 s at most, `getToken` is asked for the next one, which `auth`
 * gives to the session in place. When that fails it is tried again until the broker closes with `token_expired`; the
 * reconnection then asks anew. */

import { clientLimits } from "./limits.ts";
import type { Platform } from "./platform.ts";

export class TokenRenewal {
  readonly #platform: Platform;
  readonly #renew: () => Promise<{ expiresAt?: number }>;
  readonly #onError: (error: Error) => void;
  #cancelTimer: (() => void) | undefined;
  #turn = 0;

  /** `renew` gets a token and gives it to the broker. */
  constructor(
    platform: Platform,
    renew: () => Promise<{ expiresAt?: number }>,
    onError: (error: Error) => void,
  ) {
    this.#platform = platform;
    this.#renew = renew;
    this.#onError = onError;
  }

  /** The session's token expires at `expiresAt`; undefined when it does not. */
  watch(expiresAt: number | undefined): void {
    this.stop();
    if (expiresAt === undefined) return;
    const lifeMs = expiresAt - this.#platform.now();
    this.#schedule(lifeMs - Math.min(30_000, lifeMs / 10), expiresAt);
  }

  /** The session is gone. */
  stop(): void {
    this.#turn++;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #schedule(delayMs: number, expiresAt: number): void {
    const turn = this.#turn;
    const ms = Math.min(clientLimits.timerMs, Math.max(clientLimits.renewalMs, delayMs));
    this.#cancelTimer = this.#platform.setTimer(() => {
      if (ms < delayMs) {
        this.#schedule(delayMs - ms, expiresAt);
        return;
      }
      void this.#renewNow(turn, expiresAt);
    }, ms);
  }

  /** Never rejects. */
  async #renewNow(turn: number, expiresAt: number): Promise<void> {
    try {
      const renewed = await this.#renew();
      if (turn === this.#turn) this.watch(renewed.expiresAt);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#onError(error instanceof Error ? error : new Error("getToken failed", { cause: error }));
      const leftMs = expiresAt - this.#platform.now();
      if (turn === this.#turn && leftMs > 0) this.#schedule(leftMs / 4, expiresAt);
    }
  }
}
