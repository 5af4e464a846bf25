/* What a token says, and what it does not: never more is taken from it than stands there. */

import tap from "tap";

import { type ClaimNames, principalOf } from "../../broker/sessions/claims.ts";

const scopesOf = (payload: object, claims: ClaimNames = {}): string[] => [
  ...principalOf({ sub: "alice", ...payload }, { names: claims, maxAgeMs: undefined }).scopes,
];
const userOf = (payload: object, user?: string): string =>
  principalOf({ ...payload }, { names: { user }, maxAgeMs: undefined }).user;

const endOf = (payload: object, maxAgeMs?: number): number | undefined =>
  principalOf({ sub: "alice", ...payload }, { names: {}, maxAgeMs }).expiresAt;

await tap.test("scopes are a text or a list, in `scope`, else in `scp`", async (t) => {
  t.same(scopesOf({}), ["read", "write"], "a token that says nothing of scopes");
  for (const said of ["read", ["read"], ["read", "openid"], ["openid read"], "openid read"]) {
    t.same(scopesOf({ scope: said }), ["read"], JSON.stringify(said));
    t.same(scopesOf({ scp: said }), ["read"], JSON.stringify(said));
    t.same(scopesOf({ scope: said, scp: ["admin"] }), ["read"], "scope counts where it is there");
  }
  for (const none of ["", [], [""], ["Read"], "read,write"]) {
    t.same(scopesOf({ scope: none }), [], JSON.stringify(none));
    t.same(scopesOf({ scp: none }), [], JSON.stringify(none));
  }
  for (const odd of [null, 1, true, {}, [1], [["read"]], ["read", null]]) {
    t.throws(() => scopesOf({ scope: odd }), { code: "unauthenticated", message: /`scope` is no string/ });
    t.throws(() => scopesOf({ scp: odd }), { code: "unauthenticated", message: /`scp` is no string/ });
  }
});

await tap.test("a claim that was named for scopes is the only one", async (t) => {
  const named = { scope: "realm_access.roles" };
  t.same(scopesOf({ realm_access: { roles: ["write", "offline"] }, scope: "read" }, named), ["write"]);
  t.same(
    scopesOf({ "realm_access.roles": "read", realm_access: { roles: ["admin"] } }, named),
    ["read"],
    "its own key",
  );
  t.same(scopesOf({ scope: "read", scp: ["admin"] }, named), [], "without it a token may do nothing");
  t.same(scopesOf({ permissions: ["read", "firehose"] }, { scope: "permissions" }), ["read", "firehose"]);
  t.throws(
    () => scopesOf({ realm_access: { roles: { read: true } } }, named),
    /`realm_access.roles` is no string/,
  );
  for (const payload of [{ realm_access: "roles" }, { realm_access: null }, { realm_access: ["roles"] }])
    t.same(scopesOf(payload, named), []);
  t.same(scopesOf({}, { scope: "__proto__" }), [], "what every map has is no claim");
});

await tap.test("the handle is in `sub`, or in the claim that was named", async (t) => {
  t.throws(() => userOf({ sub: "auth0|5f7c8ec7c33c6c004bbafe82" }), {
    code: "unauthenticated",
    message: /`sub` is no handle.*--user-claim/,
  });
  const sub = "auth0|5f7c8ec7c33c6c004bbafe82";
  t.equal(userOf({ sub, nickname: "alice" }, "nickname"), "alice");
  t.equal(userOf({ sub, "https://example.com/handle": "alice" }, "https://example.com/handle"), "alice");
  t.equal(userOf({ sub, user: { name: "alice" } }, "user.name"), "alice");
  for (const odd of [undefined, null, 7, "", ["alice"], { toString: "alice" }])
    t.throws(
      () => userOf({ sub: "bob", nickname: odd }, "nickname"),
      { message: /no `nickname`/ },
      "never `sub` instead",
    );
  for (const name of ["constructor.name", "__proto__.x", "toString"])
    t.throws(() => userOf({ sub: "bob" }, name), { code: "unauthenticated" });
});

await tap.test("with a greatest age a token ends by its iat, or before by its exp", async (t) => {
  t.equal(endOf({ iat: 1_000 }, 60_000), 1_060_000);
  t.equal(endOf({ iat: 1_000, exp: 1_030 }, 60_000), 1_030_000);
  t.equal(endOf({ iat: 1_000, exp: 9_999_999 }, 60_000), 1_060_000);
  t.equal(endOf({ iat: 1_000 }), undefined);
});
