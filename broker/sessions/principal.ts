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

/** What a subscription needs, as long as it is open: the right to read it, and to read it as whom it names.
 *  @throws `forbidden` */
export function requireReading(
  principal: Principal,
  { kind, as }: { kind: string; as: string | undefined },
): void {
  requireScope(principal, "read");
  actingUser(principal, as);
  if (kind === "firehose") requireScope(principal, "firehose");
}

/** The handle a request acts as: its own, or the one it names. @throws `forbidden` */
export function actingUser(principal: Principal, as: string | undefined): string {
  if (as === undefined) return principal.user;
  requireScope(principal, "backend");
  return as;
}
