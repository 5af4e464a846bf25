/* Identity: who a session belongs to, from its first credentials to the expiry of its last.
 *
 *   unknown ──credentials of the upgrade, or hello──> known ──auth──> known with a newer token ──expiry──> ended
 *
 * Checking credentials takes time; what the client sends meanwhile waits for `settled`, so that it may send a hello and
 * its requests without waiting for the answer. */

import {
  type RequestOf,
  type ResultOf,
  WhalesongError,
  checkDevice,
  checkHandle,
  fold,
} from "../../protocol/index.ts";
import type { Authenticator } from "./authenticator.ts";
import { defaultDevice } from "./operations.ts";
import { type Principal, actingUser, clockToleranceMs } from "./principal.ts";
import type { UserConnections } from "./user-connections.ts";

/** Timers take 31 bits of ms; a token that lives longer is looked at again then. */
const longestTimerMs = 2 ** 31 - 1;

export interface IdentityParts {
  authenticator: Authenticator;
  userConnections: UserConnections;
  /** ms since the Unix epoch. */
  now: () => number;
}

/** Whose credentials they are. */
export interface Identified {
  /** They have expired. */
  expired(): void;
}

export class Identity {
  readonly #parts: IdentityParts;
  readonly #owner: Identified;
  #principal: Principal | undefined;
  #device = defaultDevice;
  /** Whose the credentials are; the principal may act as another. */
  #shownUser: string | undefined;
  #settled: Promise<void> | undefined;
  /** The renewal that was asked for last, while its token is being checked. */
  #renewing: Promise<void> | undefined;
  #expiry: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** The user whose connection it is counted as, folded. */
  #counted: string | undefined;

  constructor(parts: IdentityParts, owner: Identified) {
    this.#parts = parts;
    this.#owner = owner;
  }

  /** Undefined until credentials have been accepted. */
  get principal(): Principal | undefined {
    return this.#principal;
  }

  /** The name under which the client's cursors are kept. */
  get device(): string {
    return this.#device;
  }

  /** Settles, without failing, when no credentials are being checked; undefined when none are. */
  get settled(): Promise<void> | undefined {
    return this.#settled;
  }

  /** `device` comes by every way a client has to name one.
   * @throws `bad_request` when it cannot be one, and has accepted nothing; TooManyConnections */
  accept(principal: Principal, device: string | undefined, shownUser = principal.user): void {
    const named = device === undefined ? this.#device : checkDevice(device);
    this.#count(principal, shownUser);
    this.#device = named;
    this.#principal = principal;
    this.#shownUser ??= shownUser;
    this.#watchExpiry();
  }

  /** Accepts what `authenticating` comes to, acting `as` somebody. @throws what it throws */
  async acceptFrom(
    authenticating: Promise<Principal>,
    device: string | undefined,
    as?: string,
  ): Promise<void> {
    const accepting = authenticating.then((shown) =>
      this.accept(this.#actingAs(as, shown), device, shown.user),
    );
    const settled = accepting
      .catch(() => {})
      .finally(() => {
        if (this.#settled === settled) this.#settled = undefined;
      });
    this.#settled = settled;
    await accepting;
  }

  /** The first words of a client. Where the connection came with its credentials, they add to these. @throws WhalesongError */
  async hello({ user, token, as, device }: RequestOf<"hello">): Promise<Principal> {
    const before = this.#principal;
    if (before === undefined || token !== undefined) {
      await this.acceptFrom(this.#parts.authenticator.authenticate({ user, token }), device, as);
    } else {
      if (user !== undefined && fold(user) !== fold(before.user)) {
        throw new WhalesongError("conflict", `user: this connection is ${before.user}'s`, { field: "user" });
      }
      this.accept(this.#actingAs(as, before), device);
    }
    return this.#principal!;
  }

  /** A connection is one user's: credentials that come later may renew what they may do, not whose it is. @throws WhalesongError */
  #actingAs(as: string | undefined, principal: Principal): Principal {
    const shown = this.#shownUser;
    const isAnothers =
      this.#principal !== principal && shown !== undefined && fold(principal.user) !== fold(shown);
    if (isAnothers) {
      throw new WhalesongError("conflict", `token: this connection is ${shown}'s; open another one`, {
        field: "token",
      });
    }
    const user = as === undefined ? principal.user : checkHandle(actingUser(principal, as), "as");
    return { ...principal, user };
  }

  /** A newer token for the same user. @throws WhalesongError */
  async renew({ token }: RequestOf<"auth">): Promise<ResultOf<"auth">> {
    const principal = await this.#inTurn(this.#parts.authenticator.authenticate({ token }));
    const before = this.#principal!;
    if (fold(principal.user) !== fold(before.user) && !principal.scopes.has("backend")) {
      throw new WhalesongError("forbidden", "token: it is another user's; renewal keeps the user", {
        field: "token",
      });
    }
    this.accept({ ...principal, user: before.user }, undefined);
    const { expiresAt } = principal;
    return {
      scopes: [...principal.scopes],
      ...(expiresAt !== undefined && { expiresAt }),
      at: this.#parts.now(),
    };
  }

  /** Renewals count in the order they were sent, however long each takes to be checked: the last token sent is in force. */
  async #inTurn(authenticating: Promise<Principal>): Promise<Principal> {
    const before = this.#renewing;
    const settling = Promise.allSettled([authenticating, before]).then(() => {
      if (this.#renewing === settling) this.#renewing = undefined;
    });
    this.#renewing = settling;
    await Promise.allSettled([before]);
    return authenticating;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#expiry);
    if (this.#counted !== undefined) this.#parts.userConnections.leave(this.#counted);
  }

  /** A principal with the scope `backend` speaks for many users, and is not counted. */
  #count({ scopes }: Principal, user: string): void {
    if (this.#isClosed || this.#counted !== undefined || scopes.has("backend")) return;
    const folded = fold(user);
    this.#parts.userConnections.enter(folded);
    this.#counted = folded;
  }

  /** A token is honoured as long after its end as clocks may differ, as it is when it is shown. */
  #watchExpiry(): void {
    clearTimeout(this.#expiry);
    const expiresAt = this.#principal?.expiresAt;
    // Credentials may be accepted after the session's end: no timer may then keep it until they expire.
    if (expiresAt === undefined || this.#isClosed) return;
    const leftMs = expiresAt + clockToleranceMs - this.#parts.now();
    this.#expiry = setTimeout(
      () => (leftMs > longestTimerMs ? this.#watchExpiry() : this.#owner.expired()),
      Math.min(Math.max(leftMs, 0), longestTimerMs),
    );
  }
}
