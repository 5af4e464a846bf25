/* RemoteKeys: the keys of a JWKS at a URL.
 *
 * One fetch is under way at a time, and all who need it wait for that one. While the server is away the waits between fetches
 * grow, and tokens with unknown keys are refused as `unavailable` without one. An answer counts when it is a JWKS of status
 * 200, comes within the time and size allowed, and from where it was asked for: redirects are not followed, since they could
 * lead to where anybody may answer. */

import { type JSONWebKeySet, type JWTVerifyGetKey, createLocalJWKSet, errors } from "jose";

import { WhalesongError } from "../../protocol/index.ts";
import type { KeySetEvents } from "./key-set.ts";

/** Bytes of a set, at most. */
const maxBytes = 1_048_576;
/** How long a fetch may take, in ms. */
const fetchTimeoutMs = 5_000;
/** How old known keys grow before they are fetched again, in ms; behind a token, which does not wait for it. */
const freshMs = 600_000;
/** How soon after a fetch that went well an unknown key makes another, in ms. */
const cooldownMs = 30_000;
/** After a first failure the next who asks tries again; from the second on waits double, from the least to the most, in ms. */
const leastWaitMs = 250;
const mostWaitMs = 30_000;

export class RemoteKeys {
  readonly #url: URL;
  readonly #events: KeySetEvents;
  readonly #now: () => number;
  #keys: JWTVerifyGetKey | undefined;
  #fetching: Promise<void> | undefined;
  #failures = 0;
  /** When the last fetch began, on a clock that does not jump. */
  #fetchedAt = Number.NEGATIVE_INFINITY;

  /** @param now ms on a clock that does not jump @throws Error when `source` is no URL */
  constructor(source: string, events: KeySetEvents, now = (): number => performance.now()) {
    if (!URL.canParse(source)) throw new Error(`JWKS ${source}: this is not a URL`);
    this.#url = new URL(source);
    this.#events = events;
    this.#now = now;
  }

  readonly find: JWTVerifyGetKey = async (header, token) => {
    if (this.#keys === undefined) await this.#fetch();
    else if (this.#failures > 0 || this.#now() - this.#fetchedAt > freshMs) void this.#fetch();
    const known = this.#keys;
    if (known === undefined) throw unavailable();
    try {
      return await known(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await this.#fetch();
      if (this.#keys === known && this.#failures > 0) throw unavailable();
      return this.#keys!(header, token);
    }
  };

  /** Fetches the set unless it is too soon to. Does not throw. */
  #fetch(): Promise<void> {
    if (this.#fetching === undefined && this.#now() - this.#fetchedAt >= this.#waitMs) {
      this.#fetchedAt = this.#now();
      this.#fetching = this.#load().finally(() => (this.#fetching = undefined));
    }
    return this.#fetching ?? Promise.resolve();
  }

  get #waitMs(): number {
    if (this.#failures > 1) return Math.min(leastWaitMs * 2 ** (this.#failures - 2), mostWaitMs);
    return this.#failures === 1 || this.#keys === undefined ? 0 : cooldownMs;
  }

  async #load(): Promise<void> {
    try {
      this.#keys = createLocalJWKSet(await this.#download());
      if (this.#failures > 0) this.#events.onRecovery();
      this.#failures = 0;
    } catch (error) {
      if (++this.#failures === 1) this.#events.onFailure(this.#fault(error));
    }
  }

  async #download(): Promise<JSONWebKeySet> {
    const response = await fetch(this.#url, {
      headers: { accept: "application/json, application/jwk-set+json" },
      redirect: "manual",
      signal: AbortSignal.timeout(fetchTimeoutMs),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`the answer has status ${response.status}; 200 is needed`);
    }
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    // Counted as it comes, unpacked: what a server says of its length, or packs into a few bytes, is not trusted.
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new Error(`the answer is over ${maxBytes} bytes`);
      chunks.push(chunk);
    }
    return JSON.parse(Buffer.concat(chunks).toString()) as JSONWebKeySet;
  }

  /** In a few words: where, and what first went wrong. */
  #fault(error: unknown): Error {
    const { message, cause } = error as Error;
    const { code } = (cause ?? {}) as { code?: unknown };
    const text = typeof code === "string" ? `${message} (${code})` : message;
    return new Error(`JWKS ${this.#url.origin}${this.#url.pathname}: ${text.slice(0, 200)}`);
  }
}

function unavailable(): WhalesongError {
  return new WhalesongError(
    "unavailable",
    "the keys that tokens are checked with cannot be fetched at present; try again",
  );
}
