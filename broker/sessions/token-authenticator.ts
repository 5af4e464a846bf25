/* TokenAuthenticator: JSON Web Tokens (RFC 7519), signed with a shared secret or with a private key whose public half is
 * in a JWKS.
 *
 * What a token says is read by claims.ts. Which algorithms are taken follows from the kind of key and never from the token: a public key cannot be passed off as a
 * secret, and an unsigned token is none. What a refusal says is about the token, never about the keys. */

import { type KeyObject, createSecretKey } from "node:crypto";

import { type JWTPayload, type JWTVerifyGetKey, type JWTVerifyOptions, errors, jwtVerify } from "jose";

import { WhalesongError, fold } from "../../protocol/index.ts";
import type { Authenticator, Credentials } from "./authenticator.ts";
import { type ClaimNames, type ClaimRules, principalOf, refusal } from "./claims.ts";
import { openKeySet } from "./key-set.ts";
import { type Principal, clockToleranceMs } from "./principal.ts";

/** A shorter secret than HMAC-SHA-256's output can be found by trying (RFC 7518, section 3.2). */
const minSecretBytes = 32;

export interface TokenOptions {
  /** The secret of HS256 tokens, 32 bytes of UTF-8 at least. Either this or `jwks`. */
  secret?: string | undefined;
  /** Where the public keys of RS256, ES256 and EdDSA tokens are: an http(s) URL or a file. */
  jwks?: string | undefined;
  /** The `iss` that tokens must have. @default any */
  issuer?: string | undefined;
  /** The `aud` that tokens must have. @default any */
  audience?: string | undefined;
  /** Where the handle and the scopes are. */
  claims?: ClaimNames;
  /** How old tokens may grow, counted from their `iat`, which they then need; in ms. @default as old as they say */
  maxAgeMs?: number | undefined;
  /** ms since the Unix epoch. @default Date.now */
  now?: () => number;
  /** Hears why keys could not be read, once until they can be again; tokens are then checked with those known before. */
  onFailure?: (error: unknown) => void;
  onRecovery?: () => void;
}

export class TokenAuthenticator implements Authenticator {
  readonly isOpen = false;
  readonly #key: JWTVerifyGetKey | KeyObject;
  readonly #rules: JWTVerifyOptions;
  readonly #claims: ClaimRules;
  readonly #now: () => number;

  /** @throws Error when the secret is too short, or the file of keys cannot be used */
  static async create(options: TokenOptions): Promise<TokenAuthenticator> {
    const { secret, jwks, onFailure = () => {}, onRecovery = () => {} } = options;
    if ((secret === undefined) === (jwks === undefined)) {
      throw new Error("tokens are checked with a secret or with a JWKS: give one of them");
    }
    const key = secret === undefined ? await openKeySet(jwks!, { onFailure, onRecovery }) : secretKey(secret);
    return new TokenAuthenticator(key, options);
  }

  private constructor(key: JWTVerifyGetKey | KeyObject, options: TokenOptions) {
    const { secret, issuer, audience, claims = {}, maxAgeMs, now } = options;
    this.#key = key;
    this.#claims = { names: claims, maxAgeMs };
    this.#now = now ?? Date.now;
    this.#rules = {
      algorithms: secret === undefined ? ["RS256", "ES256", "EdDSA"] : ["HS256"],
      clockTolerance: clockToleranceMs / 1000,
      ...(issuer === undefined ? {} : { issuer }),
      ...(audience === undefined ? {} : { audience }),
      ...(maxAgeMs === undefined ? {} : { maxTokenAge: maxAgeMs / 1_000 }),
    };
  }

  async authenticate({ token, user }: Credentials): Promise<Principal> {
    if (token === undefined || token === "") {
      throw refusal("this broker checks who you are: send a token");
    }
    const principal = principalOf(await this.#verify(token), this.#claims);
    if (user !== undefined && fold(user) !== fold(principal.user)) {
      throw new WhalesongError(
        "unauthenticated",
        `user: the token is ${JSON.stringify(principal.user)}'s; leave \`user\` out, or name whom you act for by \`as\``,
        { field: "user" },
      );
    }
    return principal;
  }

  async #verify(token: string): Promise<JWTPayload> {
    const rules = { ...this.#rules, currentDate: new Date(this.#now()) };
    try {
      const key = this.#key;
      const verified =
        typeof key === "function" ? await jwtVerify(token, key, rules) : await jwtVerify(token, key, rules);
      return verified.payload;
    } catch (error) {
      if (error instanceof WhalesongError) throw error;
      throw refusal(faultOf(error), error);
    }
  }
}

function secretKey(secret: string): KeyObject {
  const bytes = Buffer.from(secret);
  if (bytes.length < minSecretBytes) {
    throw new Error(
      `auth secret: ${minSecretBytes} bytes at least, since a shorter one can be guessed; got ${bytes.length} (openssl rand -base64 32 makes one)`,
    );
  }
  return createSecretKey(bytes);
}

/** What is wrong with a token, in words for whoever sent it. */
function faultOf(error: unknown): string {
  if (error instanceof errors.JWTExpired && error.claim === "iat") {
    return "the token is older than tokens may be here (--max-token-age); get a new one";
  }
  if (error instanceof errors.JWTExpired) {
    return `the token expired${timeOf(error.payload.exp)}; get a new one`;
  }
  if (error instanceof errors.JWTClaimValidationFailed) return claimFault(error);
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return "the token's signature is wrong: it was signed with another key, or changed since";
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return "the token is signed with an algorithm that is not taken here";
  }
  if (error instanceof errors.JWKSNoMatchingKey) {
    return "the token is signed with a key that is not known here";
  }
  if (error instanceof errors.JWKSMultipleMatchingKeys) {
    return "the token does not say by a `kid` which of several keys it is signed with";
  }
  return "this is not a token: three parts of base64url with dots between them are";
}

function claimFault({ claim, reason, payload }: errors.JWTClaimValidationFailed): string {
  if (reason === "missing") return `the token has no \`${claim}\`, which is needed here`;
  if (reason === "invalid") return `the token's \`${claim}\` is of a wrong type`;
  if (claim === "iat") return `the token's \`iat\` is in the future${timeOf(payload.iat, ":")}`;
  if (claim === "nbf") return `the token is not valid yet${timeOf(payload.nbf, ", but from")}`;
  return `the token's \`${claim}\` is not the one that is needed here`;
}

function timeOf(seconds: number | undefined, word = " at"): string {
  const date = new Date((seconds ?? Number.NaN) * 1_000);
  return Number.isNaN(date.getTime()) ? "" : `${word} ${date.toISOString()}`;
}
