/* Authenticator: who a token, or in open mode a name, stands for. */

import type { Principal } from "./principal.ts";

/** What a client shows: a token, or in open mode its name. */
export interface Credentials {
  token?: string | undefined;
  user?: string | undefined;
}

export interface Authenticator {
  /** Open mode: whoever connects says who they are, and may do everything. */
  readonly isOpen: boolean;
  /** @throws WhalesongError `unauthenticated`, `bad_request` */
  authenticate(credentials: Credentials): Promise<Principal>;
}
