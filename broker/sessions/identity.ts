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

/** Timers take 31 bits of ms; a token that lives longer is looked at again then. */
const longestTimerMs = 2 ** 31 - 1;

export interface IdentityParts {
  authenticator: Authenticator;
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
  #settled: Promise<void> | undefined;
  #expiry: NodeJS.Timeout | undefined;
  #isClosed = false;

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

  /** `device` comes by every way a client has to name one. @throws `bad_request` when it cannot be one, and has accepted nothing */
  accept(principal: Principal, device: string | undefined): void {
    if (device !== undefined) this.#device = checkDevice(device);
    this.#principal = principal;
    this.#watchExpiry();
  }

  /** Accepts what `authenticating` comes to. @throws what it throws */
  async acceptFrom(authenticating: Promise<Principal>, device: string | undefined): Promise<void> {
    const accepting = authenticating.then((principal) => this.accept(principal, device));
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
      await this.acceptFrom(this.#parts.authenticator.authenticate({ user, token }), device);
    } else {
      if (user !== undefined && fold(user) !== fold(before.user)) {
        throw new WhalesongError("conflict", `user: this connection is ${before.user}'s`, { field: "user" });
      }
      this.accept(before, device);
    }
    const principal = this.#principal!;
    if (as === undefined) return principal;
    this.accept({ ...principal, user: checkHandle(actingUser(principal, as), "as") }, undefined);
    return this.#principal!;
  }

  /** A newer token for the same user. @throws WhalesongError */
  async renew({ token }: RequestOf<"auth">): Promise<ResultOf<"auth">> {
    const before = this.#principal!;
    const principal = await this.#parts.authenticator.authenticate({ token });
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

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#expiry);
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
