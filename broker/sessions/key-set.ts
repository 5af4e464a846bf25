/* KeySet: the public keys that tokens are signed with, from a JWKS (RFC 7517) at a URL or in a file.
 *
 * Keys are rotated by publishing the new one beside the old one before it is used. A token whose key is not known makes
 * the set be read again: a file at once, a URL at most every half minute, so that made-up tokens cannot flood its server.
 * A set that cannot be read leaves the keys known before in force. */

import { fileURLToPath } from "node:url";

import {
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
} from "jose";

import { WhalesongError } from "../../protocol/index.ts";
import { readText } from "../text-file.ts";

/** Opens the keys at `source`: an http(s) URL or a path. A file is read now. @throws Error when it cannot be used. */
export async function openKeySet(
  source: string,
  onFailure: (error: unknown) => void,
): Promise<JWTVerifyGetKey> {
  if (/^https?:/i.test(source)) return remoteKeySet(source, onFailure);
  const keys = new KeyFile(/^file:/i.test(source) ? fileURLToPath(source) : source, onFailure);
  await keys.load();
  return keys.find;
}

function remoteKeySet(source: string, onFailure: (error: unknown) => void): JWTVerifyGetKey {
  if (!URL.canParse(source)) throw new Error(`JWKS ${source}: this is not a URL`);
  const find = createRemoteJWKSet(new URL(source));
  return async (header, token) => {
    try {
      return await find(header, token);
    } catch (error) {
      if (isAboutToken(error)) throw error;
      onFailure(error);
      throw new WhalesongError(
        "unavailable",
        "the keys that tokens are checked with cannot be fetched at present; try again",
        {},
        { cause: error },
      );
    }
  };
}

/** Whether it is the token that asks for a key that is none of the set's, and not the set that is at fault. */
function isAboutToken(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  );
}

class KeyFile {
  readonly #path: string;
  readonly #onFailure: (error: unknown) => void;
  #find: JWTVerifyGetKey | undefined;
  #reloading: Promise<void> | undefined;

  constructor(path: string, onFailure: (error: unknown) => void) {
    this.#path = path;
    this.#onFailure = onFailure;
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
      .catch(this.#onFailure)
      .finally(() => (this.#reloading = undefined));
    return this.#reloading;
  }
}
