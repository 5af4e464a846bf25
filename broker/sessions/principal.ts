/* Principal: who a request comes from, and what they may do. */

import { WhalesongError } from "../../protocol/index.ts";

export const scopes = ["read", "write", "firehose", "backend", "admin"] as const;
/** `backend`: may act as any user by naming `as`. */
export type Scope = (typeof scopes)[number];

/** How far the clocks of those who make tokens may differ from ours, in ms. */
export const clockToleranceMs = 5_000;

export interface Principal {
  /** The handle, as the token or the client spelled it. */
  readonly user: string;
  readonly scopes: ReadonlySet<Scope>;
  /** When the token ends, ms since the Unix epoch. */
  readonly expiresAt: number | undefined;
}

/** @throws `forbidden` */
export function requireScope(principal: Principal, scope: Scope): void {
  if (principal.scopes.has(scope)) return;
  throw new WhalesongError(
    "forbidden",
    `this needs a token with the scope "${scope}"; yours has "${[...principal.scopes].join(" ")}"`,
  );
}

/** The handle a request acts as: its own, or the one it names. @throws `forbidden` */
export function actingUser(principal: Principal, as: string | undefined): string {
  if (as === undefined) return principal.user;
  requireScope(principal, "backend");
  return as;
}
