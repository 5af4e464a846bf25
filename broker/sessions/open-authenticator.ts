/* OpenAuthenticator: open mode, in which whoever connects says who they are and may do everything.
 *
 * For development on one machine: the broker then listens on loopback alone. */

import { WhalesongError, checkHandle } from "../../protocol/index.ts";
import type { Authenticator, Credentials } from "./authenticator.ts";
import { type Principal, type Scope, scopes } from "./principal.ts";

const allScopes: ReadonlySet<Scope> = new Set(scopes);

export class OpenAuthenticator implements Authenticator {
  readonly isOpen = true;

  async authenticate({ token, user }: Credentials): Promise<Principal> {
    if (token !== undefined) {
      // Taking it unchecked would let someone believe that tokens are checked here.
      throw new WhalesongError(
        "unauthenticated",
        "token: this broker runs in open mode and checks no tokens: name a `user` instead, or start it with --auth-secret or --jwks",
        { field: "token" },
      );
    }
    if (user === undefined) {
      throw new WhalesongError(
        "unauthenticated",
        "user: this broker runs in open mode: say who you are by a `user`",
        { field: "user" },
      );
    }
    return { user: checkHandle(user), scopes: allScopes, expiresAt: undefined };
  }
}
