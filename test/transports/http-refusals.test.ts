/* What HTTP refuses: each with a status, a code and what to do about it, at the cost of that request alone. */

import { once } from "node:events";
import { Agent } from "node:http";
import { connect } from "node:net";

import tap from "tap";

import { Operations } from "../../broker/sessions/index.ts";
import { TokenAuthenticator } from "../../broker/sessions/token-authenticator.ts";
import { exchange, statusesIn } from "./exchange.ts";
import { type CallOptions, call, secret, startServer, tokenFor } from "./server.ts";

const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;

type Case = [
  what: string,
  line: string,
  options: CallOptions,
  expected: { status: number; code: string; message: RegExp },
];

const bad = (message: RegExp, status = 400): Case[3] => ({ status, code: "bad_request", message });

const cases: Case[] = [
  [
    "an unknown path",
    "GET /v2/posts",
    {},
    { status: 404, code: "not_found", message: /nothing at \/v2\/posts; \/openapi.json/ },
  ],
  [
    "an unknown path, posted to",
    "POST /",
    { body: "{" },
    { status: 404, code: "not_found", message: /nothing at \// },
  ],
  [
    "a method that a path does not serve",
    "PATCH /v1/posts/x",
    {},
    bad(/PATCH is not served here; GET, HEAD, DELETE is/, 405),
  ],
  ["an OPTIONS that is no preflight", "OPTIONS /v1/posts", {}, bad(/OPTIONS is not served/, 405)],
  ["HEAD of a stream without end", "HEAD /v1/stream", {}, bad(/^$/, 405)],
  [
    "a method of which nobody has heard here",
    "PROPFIND /v1/posts",
    {},
    { status: 404, code: "not_found", message: /nothing/ },
  ],
  ["a WebSocket's path without an upgrade", "GET /v1/ws", {}, bad(/ws:\/\//, 426)],

  ["no body where one is needed", "POST /v1/posts?user=a", {}, bad(/^text: /)],
  ["an empty body", "POST /v1/posts?user=a", { body: "" }, bad(/^text: /)],
  ["a body that is no JSON", "POST /v1/posts?user=a", { body: "{" }, bad(/^body: this is not JSON: /)],
  [
    "a body that is not UTF-8",
    "POST /v1/posts?user=a",
    { body: Buffer.from('{"text":"\xff\xfe"}', "latin1") },
    { status: 400, code: "bad_frame", message: /not valid UTF-8/ },
  ],
  ["a body that is no map", "POST /v1/posts?user=a", { body: "[1]" }, bad(/^body: a JSON map is needed/)],
  ["null as a body", "POST /v1/posts?user=a", { body: "null" }, bad(/^body: a JSON map is needed/)],
  [
    "a form",
    "POST /v1/posts?user=a",
    { body: "text=hi", headers: { "content-type": "application/x-www-form-urlencoded" } },
    bad(/application\/json/, 415),
  ],
  [
    "plain text, which pages can send anywhere",
    "POST /v1/posts?user=a",
    { body: '{"text":"hi"}', headers: { "content-type": "text/plain" } },
    bad(/application\/json/, 415),
  ],
  [
    "a body over the limit",
    "POST /v1/posts?user=a",
    { body: { text: "x".repeat(65_536) } },
    { status: 413, code: "too_large", message: /^body: over 65536 bytes/ },
  ],
  [
    "a body over the limit that does not say how long it is",
    "POST /v1/posts?user=a",
    { body: { text: "x".repeat(65_536) }, headers: { "transfer-encoding": "chunked" } },
    { status: 413, code: "too_large", message: /^body: over/ },
  ],
  [
    "a text over the limit",
    "POST /v1/posts?user=a",
    { body: { text: "é".repeat(8_193) } },
    { status: 413, code: "too_large", message: /^text: 16386 bytes; the limit is 16384/ },
  ],
  [
    "data that is too deep",
    "POST /v1/posts?user=a",
    { body: `{"text":"","data":${deep}}` },
    { status: 413, code: "too_large", message: /^data: over 32 levels/ },
  ],
  ["a field of a wrong type", "POST /v1/posts?user=a", { body: { text: 7 } }, bad(/^text: /)],
  [
    "a field there is not",
    "POST /v1/posts?user=a",
    { body: { text: "hi", txet: 1 } },
    bad(/^txet: the body of post has no such field/),
  ],
  [
    "an operation's name in a body",
    "POST /v1/posts?user=a",
    { body: { text: "hi", op: "delete" } },
    bad(/^op: /),
  ],
  ["a frame's id in a body", "POST /v1/posts?user=a", { body: { text: "hi", id: 1 } }, bad(/^id: /)],
  [
    "a body where there is none",
    "PUT /v1/users/a/follows/b",
    { body: { user: "c" } },
    bad(/^user: the body of follow has no such field/),
  ],
  [
    "__proto__ as a field",
    "POST /v1/posts?user=a",
    { body: '{"text":"hi","__proto__":{"as":"b"}}' },
    bad(/^__proto__: /),
  ],
  [
    "__proto__ within data",
    "POST /v1/posts?user=a",
    { body: '{"text":"hi","data":[{"\\u005f_proto__":1}]}' },
    bad(/^__proto__: /),
  ],
  [
    "constructor as a field",
    "POST /v1/posts?user=a",
    { body: '{"text":"hi","constructor":{"prototype":{}}}' },
    bad(/^constructor: /),
  ],

  [
    "an unknown parameter",
    "GET /v1/users/a/home?limmit=1",
    {},
    bad(
      /^limmit: there is no such parameter here; there are before, after, limit, replies, from, user, token/,
    ),
  ],
  [
    "__proto__ as a parameter",
    "GET /v1/users/a/home?__proto__=1",
    {},
    bad(/^__proto__: there is no such parameter/),
  ],
  ["a parameter twice", "GET /v1/users/a/home?limit=1&limit=2", {}, bad(/^limit: is given twice/)],
  [
    "a filter by both its names",
    "GET /v1/users/a/home?replies=none&filter.replies=all",
    {},
    bad(/^filter.replies: is given twice/),
  ],
  [
    "a limit that is no number",
    "GET /v1/users/a/home?limit=ten",
    {},
    bad(/^limit: a whole number is needed; got "ten"/),
  ],
  ["an empty limit", "GET /v1/users/a/home?limit=", {}, bad(/^limit: a whole number is needed/)],
  ["a limit with a fraction", "GET /v1/users/a/home?limit=1.5", {}, bad(/^limit: a whole number/)],
  ["a limit of none", "GET /v1/users/a/home?limit=0", {}, bad(/^limit: must be >= 1/)],
  ["a limit over the limit", "GET /v1/users/a/home?limit=201", {}, bad(/^limit: must be <= 200/)],
  [
    "a filter that is none",
    "GET /v1/users/a/home?replies=some",
    {},
    bad(/^filter.replies: one of "all", "followed", "none"/),
  ],
  ["a filter of another stream", "GET /v1/users/a/mentions?replies=none", {}, bad(/^filter.replies: /)],
  ["both directions", "GET /v1/users/a/home?before=x-1&after=x-1", {}, bad(/not both/)],
  ["a cursor that is none", "GET /v1/users/a/home?before=1", {}, bad(/^before: "1" is not a cursor/)],
  [
    "a cursor of another history",
    "GET /v1/users/a/home?after=zzzzzzzz-1",
    {},
    { status: 410, code: "epoch_mismatch", message: /zzzzzzzz/ },
  ],
  [
    "bad percent-encoding in a query",
    "GET /v1/users/a/home?before=%E0%A4",
    {},
    bad(/^url: .*percent-encoding.*"%E0%A4"/),
  ],
  ["bad percent-encoding in a path", "GET /v1/users/%zz/home", {}, bad(/^url: .*percent-encoding/)],
  ["a truncated character in a path", "GET /v1/users/%E0%A4/home", {}, bad(/^url: .*percent-encoding/)],
  ["a handle that is none", "GET /v1/users/a%20b/home", {}, bad(/^user: handle "a b"/)],
  ["a handle with a slash", "GET /v1/users/a%2Fb/home", {}, bad(/^user: handle "a\/b"/)],
  ["a handle with a null in it", "GET /v1/users/a%00/home", {}, bad(/^user: handle/)],
  ["no handle at all", "GET /v1/users//home", {}, bad(/^user: a handle needs 1 character/)],
  [
    "a handle that is too long",
    `GET /v1/users/${"a".repeat(65)}/home`,
    {},
    bad(/^user: a handle has 64 characters at most/),
  ],
  [
    "a part of a path that is too long",
    `GET /v1/users/${"a".repeat(4_097)}/home`,
    {},
    bad(/^url: a part of the path is too long/, 414),
  ],
  [
    "a stream that is none",
    "GET /v1/streams/nonsense?user=a",
    {},
    bad(/^stream: "nonsense" is none of home, /),
  ],
  [
    "a user nobody has heard of",
    "GET /v1/users/nobody/followers?user=a",
    {},
    { status: 404, code: "not_found", message: /^user: .*"nobody"/ },
  ],
  [
    "a post there is not",
    "GET /v1/posts/nope?user=a",
    {},
    { status: 404, code: "not_found", message: /^post: / },
  ],
  [
    "a follow of oneself",
    "PUT /v1/users/a/follows/A",
    {},
    { status: 400, code: "bad_request", message: /./ },
  ],
];

await tap.test("refuses", async (suite) => {
  const { url, faults } = await startServer(suite);
  for (const [what, line, options, { status, code, message }] of cases) {
    await suite.test(what, async (t) => {
      const answer = await call(url, line, options);
      t.equal(answer.status, status, answer.text);
      if (line.startsWith("HEAD")) return;
      t.match(answer.headers["content-type"], /^application\/json/);
      t.match(answer.error, { code, message, retryable: false });
    });
  }
  suite.same(faults, [], "and none of it is a fault");
  suite.equal((await call(url, "GET /v1/users/a/home")).status, 200, "and goes on");
});

await tap.test("405 says what is served", async (t) => {
  const { url } = await startServer(t);
  t.equal((await call(url, "DELETE /v1/posts")).headers.allow, "POST");
  t.equal((await call(url, "POST /v1/users/a/follows/b")).headers.allow, "PUT, DELETE");
  t.equal((await call(url, "PUT /healthz")).headers.allow, "GET, HEAD");
});

await tap.test("what is no HTTP is told so, and hung up on", async (t) => {
  const { url } = await startServer(t);
  const port = Number(new URL(url).port);
  for (const [sent, status, message] of [
    ["hello\r\n\r\n", "400 Bad Request", /HTTP\/1\.1/],
    [`GET / HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(40_000)}\r\n\r\n`, "431 ", /32768 bytes/],
    ["GET / HTTP/1.1\r\n\r\n", "400 Bad Request", /./],
  ] as const) {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    socket.on("error", () => {}); // a reset after the answer is a hang-up too
    socket.write(sent);
    await once(socket, "close");
    t.match(text, `HTTP/1.1 ${status}`);
    t.match(text, message);
  }
  t.equal((await call(url, "GET /healthz")).status, 200);
});

await tap.test("a fault is counted, and its insides are not told", async (t) => {
  class Faulty extends Operations {
    override execute(): Promise<never> {
      return Promise.reject(new TypeError("secret inside at /home/x"));
    }
  }
  const operations = new Faulty({} as ConstructorParameters<typeof Operations>[0]);
  const { url, faults } = await startServer(t, { operations });
  const answer = await call(url, "GET /v1/users/alice/home");
  t.equal(answer.status, 500);
  t.match(answer.error, { code: "internal", retryable: true });
  t.notMatch(answer.text, /secret|TypeError|home\/x/);
  t.equal(faults.length, 1);
  t.match((await call(url, "GET /metrics")).text, 'whalesong_refusals_total{code="internal"} 1');
});

await tap.test("a connection that asks too often is held back, a backend is not", async (t) => {
  const authenticator = await TokenAuthenticator.create({ secret });
  const connectionRate = { perSecond: 0.01, burst: 2 };
  const { url } = await startServer(t, { authenticator, connectionRate });
  const statuses = async (token: string): Promise<number[]> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const answers: number[] = [];
    for (const path of ["/v1/users/alice/home", "/v1/users/alice/home", "/v1/users/alice/home", "/healthz"])
      answers.push((await call(url, `GET ${path}`, { token, agent })).status);
    agent.destroy();
    return answers;
  };
  t.same(await statuses(await tokenFor("alice")), [200, 200, 429, 200]);
  t.same(await statuses(await tokenFor("alice", { scope: "read backend" })), [200, 200, 200, 200]);
});

await tap.test("where there are no bytes there is no body, whatever type it is said to be of", async (t) => {
  const { url } = await startServer(t);
  const types = ["application/x-www-form-urlencoded", "text/plain", "application/json", "x", ";;", "", "*/*"];
  for (const type of types) {
    for (const [method, path] of [
      ["PUT", "/v1/users/bob/follows/alice"],
      ["DELETE", "/v1/users/bob/follows/alice"],
      ["GET", "/v1/users/bob/home"],
    ] as const) {
      for (const size of [
        "Content-Length: 0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\r\n",
      ]) {
        const head = `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: ${type}\r\n`;
        t.same(statusesIn(await exchange(url, `${head}${size}`)), [200], `${method} ${type} ${size}`);
      }
    }
    const body = { body: "a=b", headers: { "content-type": type } };
    const refused = await call(url, "PUT /v1/users/bob/follows/alice", body);
    t.equal(refused.status, type === "application/json" ? 400 : 415, `a body of ${type}`);
  }
  const needed = { body: "", headers: { "content-type": "application/x-www-form-urlencoded" } };
  t.match((await call(url, "POST /v1/posts?user=a", needed)).error, { code: "bad_request", field: "text" });
});
