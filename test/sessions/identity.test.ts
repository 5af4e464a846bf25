/* Who a session belongs to: credentials that take time, come twice, or end. */

import tap from "tap";

import { WhalesongError, checkHandle } from "../../protocol/index.ts";
import { Identity } from "../../broker/sessions/identity.ts";
import { type Authenticator, type Principal, scopes } from "../../broker/sessions/index.ts";
import { UserConnections } from "../../broker/sessions/user-connections.ts";

/** Tokens are `USER` or `USER@EXPIRES`; each is decided when the test says so. */
class SlowAuthenticator implements Authenticator {
  readonly isOpen = false;
  readonly waiting: (() => void)[] = [];

  async authenticate({ token }: { token?: string | undefined }): Promise<Principal> {
    await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (token === undefined) throw new WhalesongError("unauthenticated", "send a token");
    const [user, expires] = token.split("@");
    return {
      user: user!,
      scopes: new Set(scopes),
      expiresAt: expires === undefined ? undefined : Number(expires),
    };
  }

  decide(): void {
    for (const decide of this.waiting.splice(0)) decide();
  }
}

function start(now = Date.now): {
  identity: Identity;
  authenticator: SlowAuthenticator;
  expired: Promise<void>;
} {
  const authenticator = new SlowAuthenticator();
  let identity: Identity | undefined;
  const expired = new Promise<void>((resolve) => {
    const userConnections = new UserConnections(Infinity);
    identity = new Identity({ authenticator, now, userConnections }, { expired: resolve });
  });
  return { identity: identity!, authenticator, expired };
}

await tap.test("what follows credentials waits until they are settled, accepted or not", async (t) => {
  const { identity, authenticator } = start();
  const accepting = identity.acceptFrom(authenticator.authenticate({ token: "alice" }), "phone");
  const settled = identity.settled!;
  t.ok(settled, "something is being checked");
  t.equal(identity.principal, undefined);
  authenticator.decide();
  await settled;
  t.equal(identity.principal?.user, "alice");
  t.equal(identity.device, "phone");
  await accepting;
  const refused = identity.acceptFrom(authenticator.authenticate({}), undefined);
  const also = identity.settled!;
  authenticator.decide();
  await t.rejects(refused, { code: "unauthenticated" });
  await t.resolves(also, "settling does not fail");
  t.equal(identity.settled, undefined);
});

await tap.test(
  "hello adds to credentials the connection came with, and contradicts them in vain",
  async (t) => {
    const { identity, authenticator } = start();
    identity.accept(await decided(authenticator, "Alice"), undefined);
    t.equal((await identity.hello({ op: "hello", user: "aLICE", device: "tab" })).user, "Alice");
    t.equal(identity.device, "tab");
    await t.rejects(identity.hello({ op: "hello", user: "bob" }), { code: "conflict" });
    t.equal((await identity.hello({ op: "hello", as: "bob" })).user, "bob");
    await t.rejects(identity.hello({ op: "hello", as: "a b" }), {
      code: "bad_request",
      details: { field: "as" },
    });
  },
);

await tap.test("a newer token keeps the user, in any spelling", async (t) => {
  const { identity, authenticator } = start();
  identity.accept({ ...(await decided(authenticator, "Alice")), scopes: new Set(["read"]) }, undefined);
  const renewing = identity.renew({ op: "auth", token: "ALICE" });
  authenticator.decide();
  t.same((await renewing).scopes, [...scopes]);
  t.equal(identity.principal?.user, "Alice");
  t.equal(checkHandle(identity.principal?.user ?? ""), "Alice");
});

await tap.test("of two renewals the one sent last counts, whichever is checked first", async (t) => {
  const { identity, authenticator } = start();
  identity.accept(await decided(authenticator, "alice@1e13"), undefined);
  const first = identity.renew({ op: "auth", token: "alice@2e13" });
  const second = identity.renew({ op: "auth", token: "alice@3e13" });
  authenticator.waiting.pop()!();
  await new Promise((resolve) => setImmediate(resolve));
  authenticator.decide();
  await Promise.all([first, second]);
  t.equal(identity.principal?.expiresAt, 3e13);
  identity.close();
});

await tap.test("a connection is one user's, also where a second hello brings another's token", async (t) => {
  const { identity, authenticator } = start();
  const first = identity.hello({ op: "hello", token: "service", as: "bob" });
  authenticator.decide();
  t.equal((await first).user, "bob");
  const other = identity.hello({ op: "hello", token: "mallory" });
  authenticator.decide();
  await t.rejects(other, { code: "conflict", details: { field: "token" } });
  t.equal(identity.principal?.user, "bob");
  const again = identity.hello({ op: "hello", token: "SERVICE", as: "carol" });
  authenticator.decide();
  t.equal((await again).user, "carol");
});

await tap.test("a token ends when clocks that differ by 5 s agree that it has", async (t) => {
  const now = 1_000_000;
  const lasting = start(() => now);
  const ended = start(() => now);
  t.teardown(() => lasting.identity.close());
  t.teardown(() => ended.identity.close());
  let isLasting = true;
  void lasting.expired.then(() => (isLasting = false));
  lasting.identity.accept(await decided(lasting.authenticator, `alice@${now - 4_000}`), undefined);
  // Its timer is the later one, so were the other due as well, it would have come first.
  ended.identity.accept(await decided(ended.authenticator, `alice@${now - 5_000}`), undefined);
  await ended.expired;
  t.ok(isLasting, "a second is left");
});

async function decided(authenticator: SlowAuthenticator, token: string): Promise<Principal> {
  const deciding = authenticator.authenticate({ token });
  authenticator.decide();
  return deciding;
}
