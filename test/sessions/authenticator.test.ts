/* Who a token, or in open mode a name, stands for. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { SignJWT, UnsecuredJWT, exportJWK, exportSPKI, generateKeyPair } from "jose";
import tap from "tap";

import { OpenAuthenticator } from "../../broker/sessions/open-authenticator.ts";
import { TokenAuthenticator } from "../../broker/sessions/token-authenticator.ts";
import type { WhalesongError } from "../../protocol/index.ts";

const secret = "a secret of more than 32 bytes, for tests alone";
const nowMs = 1_790_000_000_000;
const nowSeconds = nowMs / 1_000;
const now = (): number => nowMs;

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>;

function signed(claims: Record<string, unknown>, key = secret, alg = "HS256"): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg }).sign(new TextEncoder().encode(key));
}

function signedBy(pair: KeyPair, alg: string, kid?: string): Promise<string> {
  return new SignJWT({ sub: "alice" })
    .setProtectedHeader(kid === undefined ? { alg } : { alg, kid })
    .sign(pair.privateKey);
}

async function publicJwk(pair: KeyPair, alg: string, kid: string): Promise<object> {
  return { ...(await exportJWK(pair.publicKey)), alg, kid, use: "sig" };
}

/** The refusal that `attempt` ends with. */
async function refused(attempt: Promise<unknown>): Promise<WhalesongError> {
  try {
    await attempt;
  } catch (error) {
    return error as WhalesongError;
  }
  throw new Error("it was not refused");
}

await tap.test("open mode", async (suite) => {
  const open = new OpenAuthenticator();

  await suite.test("takes whoever connects at their word, for everything", async (t) => {
    const principal = await open.authenticate({ user: "Alice" });
    t.equal(principal.user, "Alice");
    t.same([...principal.scopes], ["read", "write", "firehose", "backend", "admin"]);
    t.equal(principal.expiresAt, undefined);
    t.equal(open.isOpen, true);
  });

  await suite.test("needs a name", async (t) => {
    t.match(await refused(open.authenticate({})), { code: "unauthenticated", message: /open mode.*`user`/ });
  });

  await suite.test("takes no name that is no handle", async (t) => {
    t.match(await refused(open.authenticate({ user: "a b" })), {
      code: "bad_request",
      details: { field: "user" },
    });
  });

  await suite.test("refuses a token, rather than not to check it", async (t) => {
    const token = await signed({ sub: "alice" });
    t.match(await refused(open.authenticate({ user: "alice", token })), {
      code: "unauthenticated",
      message: /open mode and checks no tokens/,
    });
  });
});

await tap.test("a token of a shared secret", async (suite) => {
  const tokens = await TokenAuthenticator.create({ secret, now });

  await suite.test("says who, what and until when", async (t) => {
    const token = await signed({ sub: "alice", scope: "read firehose", exp: nowSeconds + 60 });
    const principal = await tokens.authenticate({ token });
    t.equal(principal.user, "alice");
    t.same([...principal.scopes], ["read", "firehose"]);
    t.equal(principal.expiresAt, nowMs + 60_000);
    t.equal(tokens.isOpen, false);
  });

  await suite.test("without a scope may read and write, and never ends without an exp", async (t) => {
    const principal = await tokens.authenticate({ token: await signed({ sub: "alice" }) });
    t.same([...principal.scopes], ["read", "write"]);
    t.equal(principal.expiresAt, undefined);
  });

  await suite.test("with words that are no scopes has the others", async (t) => {
    const token = await signed({ sub: "alice", scope: "openid write  profile Admin" });
    t.same([...(await tokens.authenticate({ token })).scopes], ["write"]);
  });

  await suite.test("with an empty scope may do nothing", async (t) => {
    const token = await signed({ sub: "alice", scope: "" });
    t.equal((await tokens.authenticate({ token })).scopes.size, 0);
  });

  await suite.test(
    "is taken some seconds after its end, and before its beginning, since clocks differ",
    async (t) => {
      const token = await signed({ sub: "alice", exp: nowSeconds - 4, nbf: nowSeconds + 4 });
      t.equal((await tokens.authenticate({ token })).user, "alice");
    },
  );

  await suite.test("may come with the name it is for, and no other", async (t) => {
    const token = await signed({ sub: "alice" });
    t.equal((await tokens.authenticate({ token, user: "ALICE" })).user, "alice");
    t.match(await refused(tokens.authenticate({ token, user: "bob" })), {
      code: "unauthenticated",
      message: /the token is "alice"'s/,
    });
  });

  const claims = { sub: "alice", exp: nowSeconds + 60 };
  const good = await signed(claims);
  const [head, body, signature] = good.split(".") as [string, string, string];
  const otherBody = Buffer.from(JSON.stringify({ ...claims, sub: "bob" })).toString("base64url");
  const refusals: [what: string, token: string | undefined, message: RegExp][] = [
    ["none at all", undefined, /send a token/],
    ["an empty one", "", /send a token/],
    ["no JWT", "hello", /this is not a token/],
    ["one of two parts", `${head}.${body}`, /this is not a token/],
    ["one whose head is no JSON", `e30x.${body}.${signature}`, /this is not a token/],
    ["an expired one", await signed({ sub: "alice", exp: nowSeconds - 60 }), /expired at 2026-09-21T/],
    ["one of another secret", await signed(claims, `${secret}!`), /signature is wrong/],
    ["one whose claims were changed", `${head}.${otherBody}.${signature}`, /signature is wrong/],
    ["one without its signature", `${head}.${body}.`, /signature is wrong/],
    ["an unsigned one", new UnsecuredJWT(claims).encode(), /algorithm that is not taken/],
    ["one without sub", await signed({ exp: claims.exp }), /no `sub`/],
    ["one whose sub is a number", await signed({ sub: 7 }), /no `sub`/],
    ["one whose sub is no handle", await signed({ sub: "a b" }), /`sub` is no handle: sub: handle "a b"/],
    [
      "one whose scope is a map",
      await signed({ sub: "alice", scope: { read: true } }),
      /`scope` is no string/,
    ],
    ["one whose scope is null", await signed({ sub: "alice", scope: null }), /`scope` is no string/],
    [
      "one whose scope is a list of other things",
      await signed({ sub: "alice", scope: ["read", 1] }),
      /`scope` is no/,
    ],
    ["one whose scp is a number", await signed({ sub: "alice", scp: 7 }), /`scp` is no string/],
    ["one whose exp is a text", await signed({ sub: "alice", exp: "soon" }), /`exp` is of a wrong type/],
    [
      "one that is not valid yet",
      await signed({ sub: "alice", nbf: nowSeconds + 60 }),
      /not valid yet, but from/,
    ],
    ["one of another HMAC", await signed(claims, secret.repeat(2), "HS512"), /algorithm that is not taken/],
  ];
  for (const [what, token, message] of refusals) {
    await suite.test(`is refused when it is ${what}`, async (t) => {
      const error = await refused(tokens.authenticate({ token }));
      t.match(error, { code: "unauthenticated", message, details: { field: "token" } });
      t.notMatch(error.message, secret);
    });
  }

  await suite.test("needs 32 bytes of secret", async (t) => {
    t.match(await refused(TokenAuthenticator.create({ secret: "x".repeat(31) })), {
      message: /auth secret: 32 bytes at least.*got 31/,
    });
    t.ok(await TokenAuthenticator.create({ secret: "é".repeat(16) }));
  });

  await suite.test("is checked for issuer and audience where these are set", async (t) => {
    const strict = await TokenAuthenticator.create({ secret, now, issuer: "me", audience: "whalesong" });
    const attempt = async (extra: Record<string, unknown>): Promise<unknown> =>
      strict.authenticate({ token: await signed({ ...claims, ...extra }) });
    t.ok(await attempt({ iss: "me", aud: ["other", "whalesong"] }));
    t.match(await refused(attempt({ aud: "whalesong" })), { message: /has no `iss`/ });
    t.match(await refused(attempt({ iss: "you", aud: "whalesong" })), { message: /`iss` is not the one/ });
    t.match(await refused(attempt({ iss: "me", aud: "other" })), { message: /`aud` is not the one/ });
  });
});

await tap.test("a secret and keys are not mixed", async (t) => {
  await t.rejects(TokenAuthenticator.create({}), /give one of them/);
  await t.rejects(TokenAuthenticator.create({ secret, jwks: "keys.json" }), /give one of them/);
});

for (const alg of ["RS256", "ES256", "EdDSA"]) {
  await tap.test(`a ${alg} token is checked with the public key of its kid, from a file`, async (t) => {
    const [pair, stranger] = await Promise.all([generateKeyPair(alg), generateKeyPair(alg)]);
    const file = join(t.testdir(), "keys.json");
    // As an editor on Windows saves it.
    await writeFile(file, `\ufeff${JSON.stringify({ keys: [await publicJwk(pair, alg, "one")] })}\r\n`);
    const tokens = await TokenAuthenticator.create({ jwks: file, now });
    t.equal((await tokens.authenticate({ token: await signedBy(pair, alg, "one") })).user, "alice");
    t.match(await refused(tokens.authenticate({ token: await signedBy(stranger, alg, "one") })), {
      code: "unauthenticated",
      message: /signature is wrong/,
    });
    t.match(await refused(tokens.authenticate({ token: await signedBy(stranger, alg, "two") })), {
      message: /a key that is not known/,
    });
  });
}

await tap.test("a public key cannot be passed off as a secret", async (t) => {
  const pair = await generateKeyPair("RS256", { extractable: true });
  const jwk = await publicJwk(pair, "RS256", "one");
  const file = join(t.testdir(), "keys.json");
  const oct = { kty: "oct", k: Buffer.from(secret).toString("base64url"), kid: "two", alg: "HS256" };
  await writeFile(file, JSON.stringify({ keys: [jwk, oct] }));
  const tokens = await TokenAuthenticator.create({ jwks: file, now });
  for (const [kid, key] of [
    ["one", await exportSPKI(pair.publicKey)],
    ["one", JSON.stringify(jwk)],
    ["two", secret],
  ] as const) {
    const forged = await new SignJWT({ sub: "alice" })
      .setProtectedHeader({ alg: "HS256", kid })
      .sign(new TextEncoder().encode(key));
    t.match(await refused(tokens.authenticate({ token: forged })), {
      code: "unauthenticated",
      message: /algorithm that is not taken/,
    });
  }
  const unsigned = new UnsecuredJWT({ sub: "alice" }).encode();
  t.match(await refused(tokens.authenticate({ token: unsigned })), {
    message: /algorithm that is not taken/,
  });
  const hs = await TokenAuthenticator.create({ secret, now });
  t.match(await refused(hs.authenticate({ token: await signedBy(pair, "RS256", "one") })), {
    message: /algorithm that is not taken/,
  });
});

await tap.test(
  "a file of keys is read again for a key it did not have, and a broken one changes nothing",
  async (t) => {
    const [first, second, third] = await Promise.all([1, 2, 3].map(() => generateKeyPair("ES256")));
    const jwks = await Promise.all(
      [first, second, third].map((pair, i) => publicJwk(pair!, "ES256", `key${i + 1}`)),
    );
    const file = join(t.testdir(), "keys.json");
    const failures: unknown[] = [];
    await writeFile(file, JSON.stringify({ keys: jwks.slice(0, 1) }));
    const tokens = await TokenAuthenticator.create({
      jwks: file,
      now,
      onFailure: (error) => failures.push(error),
    });
    const second2 = await signedBy(second!, "ES256", "key2");
    t.match(await refused(tokens.authenticate({ token: second2 })), { message: /not known/ });
    await writeFile(file, JSON.stringify({ keys: jwks.slice(0, 2) }));
    t.equal((await tokens.authenticate({ token: second2 })).user, "alice");
    await writeFile(file, "{");
    t.match(await refused(tokens.authenticate({ token: await signedBy(third!, "ES256", "key3") })), {
      code: "unauthenticated",
      message: /not known/,
    });
    t.equal(failures.length, 1);
    t.equal((await tokens.authenticate({ token: second2 })).user, "alice");
  },
);

await tap.test("a file of keys that cannot be used is told at once", async (t) => {
  const folder = t.testdir({ "bad.json": "{", "none.json": "{}" });
  for (const name of ["missing.json", "bad.json", "none.json"]) {
    await t.rejects(TokenAuthenticator.create({ jwks: join(folder, name) }), { message: new RegExp(name) });
  }
});

await tap.test(
  "keys at a URL are fetched when needed; that they cannot be is no fault of the token",
  async (t) => {
    const pair = await generateKeyPair("EdDSA");
    const keys = JSON.stringify({ keys: [await publicJwk(pair, "EdDSA", "one")] });
    let status = 500;
    const server = createServer((_request, response) => {
      response.writeHead(status, { "content-type": "application/json", connection: "close" }).end(keys);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.teardown(() => server.close());
    const failures: unknown[] = [];
    const tokens = await TokenAuthenticator.create({
      jwks: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`,
      now,
      onFailure: (error) => failures.push(error),
    });
    const token = await signedBy(pair, "EdDSA", "one");
    t.match(await refused(tokens.authenticate({ token })), { code: "unavailable", retryable: true });
    t.equal(failures.length, 1);
    status = 200;
    t.equal((await tokens.authenticate({ token })).user, "alice");
    const unknown = await signedBy(pair, "EdDSA", "two");
    t.match(await refused(tokens.authenticate({ token: unknown })), { code: "unauthenticated" });
  },
);

await tap.test("a token that does not say which of several keys is refused", async (t) => {
  const [first, second] = await Promise.all([generateKeyPair("ES256"), generateKeyPair("ES256")]);
  const file = join(t.testdir(), "keys.json");
  const jwks = [await publicJwk(first, "ES256", "one"), await publicJwk(second, "ES256", "two")];
  await writeFile(file, JSON.stringify({ keys: jwks }));
  const tokens = await TokenAuthenticator.create({ jwks: file, now });
  t.match(await refused(tokens.authenticate({ token: await signedBy(first, "ES256") })), {
    code: "unauthenticated",
    message: /`kid`/,
  });
});
