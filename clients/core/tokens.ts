/* TokenRenewal: a session outlives its token.
 *
 * A tenth of the token's life before it expires, and 30 s at most, `getToken` is asked for the next one, which `auth`
 * gives to the session in place. When that fails it is tried again until the broker closes with `token_expired`; the
 * reconnection then asks anew.
 *
 * The token's end is the broker's time, and so is what is left of it: `hello` and `auth` tell both. This device's own
 * clock may be hours off, and may jump, so it is never looked at; a broker that does not tell its time is asked by `ping`. Whatever
 * the times are, a renewal comes `renewalMs` after the last one at the earliest. */

import { clientLimits } from "./limits.ts";
import type { Platform } from "./platform.ts";

/** The token's end and the time it is told at, both by the broker's clock; `expiresAt` is absent for one without an end. */
export interface TokenLife {
  expiresAt?: number;
  at?: number;
}

export interface TokenRenewalParts {
  platform: Platform;
  /** Gets a token and gives it to the broker. */
  renew: () => Promise<TokenLife>;
  /** Asks the broker for its time. */
  askTime: () => Promise<{ at: number }>;
  onError: (error: Error) => void;
}

export class TokenRenewal {
  readonly #parts: TokenRenewalParts;
  #cancelTimer: (() => void) | undefined;
  #turn = 0;

  constructor(parts: TokenRenewalParts) {
    this.#parts = parts;
  }

  /** The session has a token with this life. */
  watch({ expiresAt, at }: TokenLife): void {
    this.stop();
    if (expiresAt === undefined) return;
    if (at === undefined) void this.#askThenWatch(this.#turn, expiresAt);
    else this.#watchUntil(this.#parts.platform.now() + (expiresAt - at));
  }

  /** The session is gone. */
  stop(): void {
    this.#turn++;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** Never rejects. */
  async #askThenWatch(turn: number, expiresAt: number): Promise<void> {
    try {
      const { at } = await this.#parts.askTime();
      if (turn === this.#turn) this.watch({ expiresAt, at });
    } catch {
      // The broker closes the session when the token has expired, and the reconnection asks for the next.
    }
  }

  /** The token ends at `endMs` by the platform's clock. */
  #watchUntil(endMs: number): void {
    const lifeMs = endMs - this.#parts.platform.now();
    this.#schedule(lifeMs - Math.min(30_000, lifeMs / 10), endMs);
  }

  #schedule(delayMs: number, endMs: number): void {
    const turn = this.#turn;
    const ms = Math.min(clientLimits.timerMs, Math.max(clientLimits.renewalMs, delayMs));
    this.#cancelTimer = this.#parts.platform.setTimer(() => {
      if (ms < delayMs) {
        this.#schedule(delayMs - ms, endMs);
        return;
      }
      void this.#renewNow(turn, endMs);
    }, ms);
  }

  /** Never rejects. */
  async #renewNow(turn: number, endMs: number): Promise<void> {
    try {
      const life = await this.#parts.renew();
      if (turn === this.#turn) this.watch(life);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#parts.onError(error instanceof Error ? error : new Error("getToken failed", { cause: error }));
      const leftMs = endMs - this.#parts.platform.now();
      if (turn === this.#turn && leftMs > 0) this.#schedule(leftMs / 4, endMs);
    }
  }
}
