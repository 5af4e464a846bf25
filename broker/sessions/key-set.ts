/* KeySet: the public keys that tokens are signed with, from a JWKS (RFC 7517) at a URL or in a file.
 *
 * Keys are rotated by publishing the new one beside the old one before it is used. A token whose key is not known makes
 * the set be read again: a file at once, a URL at most every half minute, so that made-up tokens cannot flood its server.
 * Known keys stay in force however long they cannot be read; remote-keys.ts says how those at a URL are fetched.
 * Each worker process has a set of its own. */

import { fileURLToPath } from "node:url";

import { type JSONWebKeySet, type JWTVerifyGetKey, createLocalJWKSet, errors } from "jose";

import { readText } from "../text-file.ts";
import { RemoteKeys } from "./remote-keys.ts";

export interface KeySetEvents {
  /** Keys could not be read, for the first time since they last could. */
  onFailure: (error: unknown) => void;
  /** They can be read again. */
  onRecovery: () => void;
}

/** Opens the keys at `source`: an http(s) URL or a path. A file is read now. @throws Error when it cannot be used. */
export async function openKeySet(source: string, events: KeySetEvents): Promise<JWTVerifyGetKey> {
  if (/^https?:/i.test(source)) return new RemoteKeys(source, events).find;
  const keys = new KeyFile(/^file:/i.test(source) ? fileURLToPath(source) : source, events);
  await keys.load();
  return keys.find;
}

class KeyFile {
  readonly #path: string;
  readonly #events: KeySetEvents;
  #find: JWTVerifyGetKey | undefined;
  #reloading: Promise<void> | undefined;
  #hasFailed = false;

  constructor(path: string, events: KeySetEvents) {
    this.#path = path;
    this.#events = events;
  }

  async load(): Promise<void> {
    try {
      this.#find = createLocalJWKSet(JSON.parse(await readText(this.#path)) as JSONWebKeySet);
    } catch (cause) {
      throw new Error(`JWKS ${this.#path}: ${(cause as Error).message}`, { cause });
    }
  }

  readonly find: JWTVerifyGetKey = async (header, token) => {
    try {
      return await this.#find!(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await this.#reload();
      return this.#find!(header, token);
    }
  };

  /** Reads the file again: once for all who ask while it is read. */
  #reload(): Promise<void> {
    this.#reloading ??= this.load()
      .then(
        () => {
          if (this.#hasFailed) this.#events.onRecovery();
          this.#hasFailed = false;
        },
        (error: unknown) => {
          if (!this.#hasFailed) this.#events.onFailure(error);
          this.#hasFailed = true;
        },
      )
      .finally(() => (this.#reloading = undefined));
    return this.#reloading;
  }
}
