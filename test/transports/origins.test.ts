/* Which pages may use the broker from a browser. */

import tap from "tap";

import { TokenAuthenticator } from "../../broker/sessions/token-authenticator.ts";
import { exchange, statusesIn } from "./exchange.ts";
import { RawSocket } from "./raw-socket.ts";
import { call, secret, startBroker, startServer, tokenFor } from "./server.ts";

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

await tap.test("the guard of open mode judges every request, however its path is spelled", async (t) => {
  const { url } = await startBroker(t);
  const { host } = new URL(url);
  for (const path of [
    "/%761/posts?user=victim",
    "/v1/%70osts?user=victim",
    "//v1/posts?user=victim",
    "/v1//posts?user=victim",
    "/v1/./posts?user=victim",
    "/v1/posts;x?user=victim",
    `http://${host}/v1/posts?user=victim`,
    `HTTP://${host}/%761/posts?user=victim`,
  ]) {
    for (const lines of [[`Host: ${host}`, `Origin: ${page}`], ["Host: evil.example:5252"]]) {
      const head = [`POST ${path} HTTP/1.1`, ...lines, "Connection: close", "Content-Type: application/json"];
      const text = await exchange(url, `${head.join("\r\n")}\r\nContent-Length: 13\r\n\r\n{"text":"hi"}`);
      t.same(statusesIn(text), [403], `${path} ${lines.join(" ")}`);
    }
  }
  const { json } = await call(url, "GET /v1/streams/firehose?user=alice");
  t.same(json["items"], [], "nothing was published");
});

await tap.test("in open mode a rebound name reads nothing, wherever it is said", async (t) => {
  const { url } = await startServer(t);
  const { host } = new URL(url);
  for (const [target, ...lines] of [
    ["/v1/users/alice/home", "Host: evil.example"],
    ["/%761/users/alice/home", "Host: evil.example"],
    ["/%76%31/stream?stream=home&user=alice", "Host: evil.example"],
    ["/metrics", "Host: evil.example"],
    ["/%6detrics", "Host: evil.example"],
    ["/openapi.json", "Host: evil.example"],
    ["/client.js", "Host: evil.example"],
    ["/nothing", "Host: evil.example"],
    ["/metrics", `Host: ${host}`, "Host: evil.example"],
    ["/metrics", "Host: evil.example", `Host: ${host}`],
    ["http://evil.example/metrics", `Host: ${host}`],
    [`http://${host}@evil.example/metrics`, `Host: ${host}`],
    ["/metrics", "Host: evil.example#localhost"],
    ["/metrics", "Host: evil.example@localhost"],
    ["/metrics", "Host: localhost.evil.example"],
  ] as [string, ...string[]][]) {
    const text = await exchange(
      url,
      `GET ${target} HTTP/1.1\r\n${lines.join("\r\n")}\r\nConnection: close\r\n\r\n`,
    );
    t.same(statusesIn(text), [403], `${target} ${lines.join(" ")}`);
  }
  const old = await exchange(url, "GET /metrics HTTP/1.0\r\nOrigin: null\r\n\r\n");
  t.same(statusesIn(old), [403], "a page without a host is no page of its own");
  const health = await exchange(
    url,
    "GET /%68ealthz HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n",
  );
  t.same(statusesIn(health), [200], "monitors ask by any name");
});

await tap.test(
  "in open mode what a browser sends for another page is refused, also where it says no origin",
  async (t) => {
    const { url } = await startServer(t, { corsOrigins: [page, "null"] });
    const ask = async (line: string, headers: Record<string, string>): Promise<number> =>
      (await call(url, line, { headers })).status;
    for (const line of ["GET /v1/users/alice/home", "GET /metrics", "GET /openapi.json", "GET /%6detrics"]) {
      for (const site of ["cross-site", "same-site", "cross-site, none"])
        t.equal(await ask(line, { "sec-fetch-site": site }), 403, `${line} ${site}`);
      for (const site of ["none", "same-origin"])
        t.equal(await ask(line, { "sec-fetch-site": site }), 200, site);
      t.equal(
        await ask(line, { "sec-fetch-site": "cross-site", origin: page }),
        200,
        "a page that is allowed",
      );
      t.equal(
        await ask(line, { "sec-fetch-site": "cross-site", origin: "null" }),
        200,
        "one without a name, allowed",
      );
      t.equal(await ask(line, { "sec-fetch-site": "cross-site", origin: new URL(url).origin }), 403);
    }
    t.equal(await ask("GET /healthz", { "sec-fetch-site": "cross-site" }), 200);
    const any = await startServer(t, { corsOrigins: ["*"] });
    t.equal(
      (await call(any.url, "GET /metrics", { headers: { "sec-fetch-site": "cross-site" } })).status,
      200,
    );
  },
);

await tap.test("in open mode an upgrade is judged as any request is", async (t) => {
  const { url } = await startBroker(t);
  const { host } = new URL(url);
  const upgrade = async (target: string, ...lines: string[]): Promise<number[]> =>
    statusesIn(
      await exchange(
        url,
        `GET ${target} HTTP/1.1\r\n${lines.join("\r\n")}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
      ),
    );
  for (const target of [
    "/v1/ws?user=alice",
    "//x/v1/ws?user=alice",
    "/v1/./ws?user=alice",
    `http://${host}/v1/ws`,
  ]) {
    t.same(await upgrade(target, "Host: evil.example"), [403], target);
    t.same(await upgrade(target, `Host: ${host}`, `Origin: ${page}`), [403], target);
    t.same(await upgrade(target, `Host: ${host}`, "Sec-Fetch-Site: cross-site"), [403], target);
  }
  for (const target of ["/v1/%77s?user=alice", "/%761/ws", "/v1//ws"])
    t.same(await upgrade(target, `Host: ${host}`), [404], `${target} is no path of WebSockets`);
});

await tap.test("a preflight of an allowed page is allowed what it asks for", async (t) => {
  const { url } = await startServer(t, { corsOrigins: [page] });
  const ask = async (headers: Record<string, string>): Promise<Record<string, unknown>> =>
    (await call(url, "OPTIONS /v1/posts", { headers: { ...preflight, ...headers } })).headers;
  const asked = "traceparent,tracestate, X-Request-Id,baggage";
  const allowed = String(
    (await ask({ "access-control-request-headers": asked }))["access-control-allow-headers"],
  ).split(", ");
  for (const name of [
    "Authorization",
    "Content-Type",
    "traceparent",
    "tracestate",
    "X-Request-Id",
    "baggage",
  ])
    t.ok(allowed.includes(name), name);
  for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    t.match((await ask({}))["access-control-allow-methods"], new RegExp(`\\b${method}\\b`));
  const odd = await ask({ "access-control-request-headers": 'good, b@d, "x", , a:b' });
  t.equal(
    odd["access-control-allow-headers"],
    "Authorization, Content-Type, Last-Event-ID, Cache-Control, good",
  );
  const long = await ask({ "access-control-request-headers": "x".repeat(20_000) });
  t.ok(String(long["access-control-allow-headers"]).length < 5_000, "what is echoed is bounded");
  const near = await ask({ "access-control-request-private-network": "true" });
  t.equal(near["access-control-allow-private-network"], "true");
  t.notOk("access-control-allow-private-network" in (await ask({})));
});

await tap.test("apps and pages without a name may be allowed, too", async (t) => {
  for (const origin of [
    "capacitor://localhost",
    "chrome-extension://abcdefghijklmnop",
    "app://obsidian.md",
    "null",
  ]) {
    const { url } = await startBroker(t, { corsOrigins: [origin] });
    const answer = await call(url, "GET /v1/users/alice/home", { headers: { origin } });
    t.match(answer, { status: 200, headers: { "access-control-allow-origin": origin } }, origin);
    const other = await call(url, "GET /v1/users/alice/home", { headers: { origin: "capacitor://other" } });
    t.equal(other.status, 403);
    const socket = await RawSocket.open(url, "/v1/ws?user=alice", [`Origin: ${origin}`]);
    t.match(socket.upgrade, /^HTTP\/1.1 101 /);
    socket.end();
    const named = await call(url, "GET /metrics", { headers: { host: "obsidian.md" } });
    t.equal(named.status, 403, "the name of an app is no name of this machine");
  }
});
