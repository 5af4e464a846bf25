/* Which pages may use the broker from a browser. */

import tap from "tap";

import { TokenAuthenticator } from "../../broker/sessions/token-authenticator.ts";
import { call, secret, startServer, tokenFor } from "./server.ts";

const page = "https://app.example";
const preflight = { origin: page, "access-control-request-method": "PUT" };

await tap.test("in open mode pages of other origins are refused, whatever they ask", async (t) => {
  const { url } = await startServer(t);
  const { host } = new URL(url);
  const from = (headers: Record<string, string>): ReturnType<typeof call> =>
    call(url, "POST /v1/posts/x/repost?user=alice", { headers });
  for (const origin of [page, "null", "http://127.0.0.1:1"]) {
    const refused = await from({ origin });
    t.equal(refused.status, 403, origin);
    t.match(refused.error, { code: "forbidden", message: /--cors-origin/ });
    t.notOk("access-control-allow-origin" in refused.headers);
  }
  t.equal((await from({ origin: `http://${host}` })).status, 404, "a page of its own is heard");
  t.equal((await from({})).status, 404, "and so is what is no page");
  t.equal((await call(url, "OPTIONS /v1/posts", { headers: preflight })).status, 403);
});

await tap.test("in open mode a page cannot become its own by its name's address", async (t) => {
  const { url } = await startServer(t, { corsOrigins: ["http://my.box:5252"] });
  const to = async (host: string): Promise<number> =>
    (await call(url, "GET /v1/users/alice/home", { headers: { host, origin: `http://${host}` } })).status;
  t.equal(await to("evil.example:5252"), 403);
  t.equal(await to("127.0.0.1.evil.example"), 403);
  for (const host of ["localhost:5252", "127.0.0.1", "[::1]:5252", "my.box:5252"])
    t.equal(await to(host), 200, host);
  t.equal((await call(url, "GET /healthz", { headers: { host: "evil.example" } })).status, 200);
});

await tap.test(
  "with tokens there is nothing to borrow: the browser decides what a page may read",
  async (t) => {
    const authenticator = await TokenAuthenticator.create({ secret });
    const { url } = await startServer(t, { authenticator });
    const headers = { origin: page, host: "broker.example" };
    const answer = await call(url, "GET /v1/users/alice/home", { headers, token: await tokenFor("alice") });
    t.equal(answer.status, 200);
    t.notOk("access-control-allow-origin" in answer.headers);
  },
);

await tap.test("pages that are allowed by name may ask and read, others not", async (t) => {
  const { url } = await startServer(t, { corsOrigins: [page, "https://other.example"] });
  const asked = await call(url, "OPTIONS /v1/users/alice/follows/bob", { headers: preflight });
  t.equal(asked.status, 204);
  t.equal(asked.text, "");
  t.match(asked.headers, {
    "access-control-allow-origin": page,
    "access-control-allow-methods": /PUT/,
    "access-control-allow-headers": /Authorization, Content-Type/,
    vary: "Origin",
  });
  t.notOk("access-control-allow-credentials" in asked.headers);
  const read = await call(url, "GET /v1/users/alice/home", { headers: { origin: page } });
  t.equal(read.status, 200);
  t.match(read.headers, {
    "access-control-allow-origin": page,
    "access-control-expose-headers": /Retry-After/,
  });
  const refused = await call(url, "GET /v1/nothing", { headers: { origin: page } });
  t.equal(refused.headers["access-control-allow-origin"], page, "errors can be read too");

  const other = await call(url, "GET /v1/users/alice/home", { headers: { origin: "https://evil.example" } });
  t.equal(other.status, 403);
  t.notOk("access-control-allow-origin" in other.headers);
  t.equal((await call(url, "GET /v1/users/alice/home")).headers.vary, "Origin", "caches keep them apart");
});

await tap.test("a star lets any page in", async (t) => {
  const { url } = await startServer(t, { corsOrigins: ["*"] });
  const headers = { origin: page, host: "any.example" };
  const read = await call(url, "GET /v1/users/alice/home", { headers });
  t.equal(read.status, 200);
  t.equal(read.headers["access-control-allow-origin"], "*");
});
