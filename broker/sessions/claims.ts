/* Claims: what the payload of a verified token says, as a principal.
 *
 *   sub, or the claim that --user-claim names                 the handle
 *   scope, else scp, or the claim that --scope-claim names    words of principal.ts, as a text with spaces or a list; others are ignored
 *   exp                                                       when the token ends
 *   iat                                                       with --max-token-age it ends so long after this
 *
 * A claim's name is that of the payload's own key, whatever dots and slashes are in it (`https://example.com/handle`); where
 * there is no such key, dots lead into maps (`realm_access.roles`). A token is never given more than it says: a claim of
 * another shape is refused. Only a token that says nothing of scopes, where no claim was named for them, gets the default. */

import type { JWTPayload } from "jose";

import { WhalesongError, checkHandle } from "../../protocol/index.ts";
import { type Principal, type Scope, scopes } from "./principal.ts";

export interface ClaimNames {
  /** @default "sub" */
  user?: string | undefined;
  /** @default "scope", or where it is missing "scp" */
  scope?: string | undefined;
}

export interface ClaimRules {
  names: ClaimNames;
  /** How long after its `iat` a token ends at the latest, in ms. @default its `exp` alone says */
  maxAgeMs: number | undefined;
}

const defaultScopes: ReadonlySet<string> = new Set(["read", "write"]);

/** @throws `unauthenticated` */
export function principalOf(payload: JWTPayload, { names, maxAgeMs }: ClaimRules): Principal {
  const words = wordsOf(payload, names.scope);
  return {
    user: handleOf(payload, names.user ?? "sub"),
    scopes: new Set(scopes.filter((known: Scope) => words.has(known))),
    expiresAt: endOf(payload, maxAgeMs),
  };
}

export function refusal(message: string, cause?: unknown): WhalesongError {
  return new WhalesongError("unauthenticated", `token: ${message}`, { field: "token" }, { cause });
}

function handleOf(payload: JWTPayload, name: string): string {
  const value = claimOf(payload, name);
  if (typeof value !== "string" || value === "")
    throw refusal(`the token has no \`${name}\` that says whose it is; put a handle there`);
  try {
    return checkHandle(value, name);
  } catch (error) {
    throw refusal(
      `the token's \`${name}\` is no handle: ${(error as Error).message}; the broker takes it from another claim with --user-claim`,
      error,
    );
  }
}

function wordsOf(payload: JWTPayload, named: string | undefined): ReadonlySet<string> {
  const name = named ?? (Object.hasOwn(payload, "scope") ? "scope" : "scp");
  const value = claimOf(payload, name);
  if (value === undefined) return named === undefined ? defaultScopes : new Set();
  const texts: unknown[] = Array.isArray(value) ? value : [value];
  if (!texts.every((text) => typeof text === "string")) {
    throw refusal(
      `the token's \`${name}\` is no string, nor a list of strings; put space-separated words there`,
    );
  }
  return new Set(texts.flatMap((text) => text.split(" ")));
}

function endOf({ exp, iat }: JWTPayload, maxAgeMs: number | undefined): number | undefined {
  const ends = [
    ...(exp === undefined ? [] : [exp * 1_000]),
    ...(maxAgeMs === undefined || iat === undefined ? [] : [iat * 1_000 + maxAgeMs]),
  ];
  return ends.length === 0 ? undefined : Math.min(Math.floor(Math.min(...ends)), Number.MAX_SAFE_INTEGER);
}

function claimOf(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  let value: unknown = payload;
  for (const part of name.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}
