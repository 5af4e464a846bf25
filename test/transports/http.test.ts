/* The operations over HTTP: what is asked, what is answered. What is refused is in http-refusals.test.ts. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import tap from "tap";

import type { BrokerOptions } from "../../broker/options.ts";
import type { Post, StreamItem } from "../../protocol/index.ts";
import {
  type Answer,
  type CallOptions,
  type Test,
  call,
  secret,
  startBroker,
  startServer,
  tokenFor,
} from "./server.ts";

type Call = (line: string, options?: CallOptions) => Promise<Answer>;

async function startAsking(t: Test, options: Partial<BrokerOptions> = {}): Promise<Call> {
  const { url } = await startBroker(t, options);
  return (line, callOptions) => call(url, line, callOptions);
}

/** Publishes, and gives the post's id. */
async function publish(ask: Call, user: string, fields: object): Promise<string> {
  const { status, json, text } = await ask(`POST /v1/posts?user=${user}`, { body: fields });
  if (status !== 201) throw new Error(text);
  return json["id"] as string;
}

function textsOf({ json }: Answer): string[] {
  return (json["items"] as StreamItem[]).map((item) => (item.event === "post" ? item.post.text : item.event));
}

await tap.test("a post is published, got and deleted", async (t) => {
  const ask = await startAsking(t);
  const body = { text: "hi @bob #node", data: { a: [1, null] }, key: "k1" };
  const published = await ask("POST /v1/posts?user=alice", { body });
  t.equal(published.status, 201);
  const id = published.json["id"] as string;
  t.equal(published.headers.location, `/v1/posts/${id}`);
  t.equal((await ask("POST /v1/posts?user=alice", { body })).json["id"], id, "a retry publishes nothing new");

  const got = await ask(`GET /v1/posts/${id}?user=carol`);
  t.equal(got.status, 200);
  const post = got.json["post"] as Post;
  t.match(post, { id, author: "alice", text: body.text, mentions: ["bob"], tags: ["node"], data: body.data });

  t.equal(
    (await ask(`DELETE /v1/posts/${id}?user=bob`)).status,
    403,
    "another's post is not one's to delete",
  );
  t.equal((await ask(`DELETE /v1/posts/${id}?user=alice`)).status, 200);
  const gone = await ask(`GET /v1/posts/${id}?user=carol`);
  t.equal(gone.status, 404);
  t.match(gone.error, { code: "not_found", field: "post", retryable: false });
});

await tap.test("a post is reposted by PUT or POST", async (t) => {
  const ask = await startAsking(t);
  const id = await publish(ask, "alice", { text: "hi" });
  t.equal((await ask(`PUT /v1/posts/${id}/repost?user=bob`)).status, 200);
  t.equal((await ask(`POST /v1/posts/${id}/repost?user=carol`, { body: {} })).status, 201);
  for (const user of ["bob", "carol"]) {
    const page = await ask(`GET /v1/users/${user}/posts?user=dave`);
    t.match(page.json["items"], [{ event: "repost", by: user, post: { id } }]);
  }
});

await tap.test("follows are put and deleted, and listed in pages", async (t) => {
  const ask = await startAsking(t);
  const followed = ["bob", "carol", "dave"];
  for (const target of followed) {
    const { status, json } = await ask(`PUT /v1/users/alice/follows/${target}`);
    t.equal(status, 200);
    t.same(json, { state: "following" });
  }
  const first = await ask("GET /v1/users/alice/following?limit=2&user=eve");
  const rest = await ask(`GET /v1/users/alice/following?after=${String(first.json["after"])}&user=eve`);
  t.same([...(first.json["users"] as string[]), ...(rest.json["users"] as string[])].sort(), followed);
  t.equal((first.json["users"] as string[]).length, 2);
  t.notOk("after" in rest.json);
  t.same((await ask("GET /v1/users/bob/followers?user=eve")).json, { users: ["alice"] });

  await ask("PUT /v1/users/bob/follows/alice");
  t.same((await ask("GET /v1/users/alice/relationship/bob")).json, {
    user: "bob",
    following: true,
    followedBy: true,
    mutual: true,
  });
  t.same((await ask("DELETE /v1/users/alice/follows/bob")).json, { state: "none" });
  t.match((await ask("GET /v1/users/alice/relationship/bob")).json, { following: false, followedBy: true });
});

await tap.test("streams are read in pages, back and forth", async (t) => {
  const ask = await startAsking(t);
  await ask("PUT /v1/users/alice/follows/bob");
  const first = await publish(ask, "bob", { text: "one #node" });
  await publish(ask, "bob", { text: "two @alice" });
  await publish(ask, "carol", { text: "three @alice #node" });
  await publish(ask, "bob", { text: "four", replyTo: first });
  const texts = async (path: string): Promise<string[]> => textsOf(await ask(`GET ${path}`));

  t.same(await texts("/v1/users/alice/home"), ["one #node", "two @alice", "four"]);
  t.same(await texts("/v1/users/alice/home?replies=none"), ["one #node", "two @alice"]);
  t.same(await texts("/v1/users/alice/mentions"), ["two @alice", "three @alice #node"]);
  t.same(await texts("/v1/users/alice/mentions?from=strangers"), ["three @alice #node"]);
  t.same(await texts("/v1/users/alice/mentions?filter.from=following"), ["two @alice"]);
  t.same(await texts("/v1/users/bob/posts?user=dave"), ["one #node", "two @alice", "four"]);
  t.same(await texts("/v1/streams/tag%3Anode?user=dave"), ["one #node", "three @alice #node"]);
  t.same(await texts("/v1/streams/tag:node?user=dave"), ["one #node", "three @alice #node"]);
  t.same(await texts(`/v1/streams/thread%3A${first}?user=dave`), ["one #node", "four"]);
  t.equal((await texts("/v1/streams/firehose?user=dave")).length, 4);

  const newest = await ask("GET /v1/users/alice/home?limit=1");
  t.same(textsOf(newest), ["four"]);
  const older = `/v1/users/alice/home?limit=1&before=${String(newest.json["before"])}`;
  t.same(await texts(older), ["two @alice"]);
  await publish(ask, "bob", { text: "five" });
  t.same(await texts(`/v1/users/alice/home?after=${String(newest.json["after"])}`), ["five"]);
});

await tap.test("a handle of any script is addressed in percent-encoding", async (t) => {
  const ask = await startAsking(t);
  const name = encodeURIComponent("Zoë");
  t.equal((await ask(`PUT /v1/users/alice/follows/${name}`)).status, 200);
  await publish(ask, name, { text: "ça va" });
  t.same(textsOf(await ask("GET /v1/users/alice/home")), ["ça va"]);
  t.same((await ask("GET /v1/users/alice/following?user=alice")).json, { users: ["Zoë"] });
  const longest = encodeURIComponent("字".repeat(64));
  t.equal((await ask(`PUT /v1/users/${longest}/follows/alice`)).status, 200);
});

await tap.test("a device's durable cursor is got and moved", async (t) => {
  const ask = await startAsking(t);
  const id = await publish(ask, "alice", { text: "hi" });
  const path = "/v1/users/alice/cursors/home?device=phone";
  t.same((await ask(`GET ${path}`)).json, { stream: "home", device: "phone" });
  const put = await ask(`PUT ${path}`, { body: { set: id } });
  t.equal(put.status, 200);
  t.same(put.json, { stream: "home", device: "phone", cursor: id });
  t.same((await ask(`GET ${path}`)).json, put.json);
  t.match((await ask("GET /v1/users/alice/cursors/tag%3ANode?device=phone")).json, { stream: "tag:node" });
  t.same((await ask("GET /v1/users/alice/cursors/home")).json, { stream: "home", device: "default" });
  const empty = await ask(`PUT ${path}`, { body: {} });
  t.equal(empty.status, 400);
  t.match(empty.error, { code: "bad_request", field: "set" });
});

await tap.test("in open mode one says who one is: by user, or by a path that names who acts", async (t) => {
  const ask = await startAsking(t);
  t.match((await ask("PUT /v1/users/alice/follows/bob?user=carol")).json, { state: "following" });
  t.same((await ask("GET /v1/users/alice/following?user=carol")).json, { users: ["bob"] });
  const nobody = await ask("GET /v1/users/alice/following");
  t.equal(nobody.status, 401);
  t.match(nobody.error, { code: "unauthenticated", field: "user" });
  t.equal((await ask("GET /v1/users/alice/home", { token: await tokenFor("alice") })).status, 401);
});

await tap.test("with an auth secret a token says who one is and what one may do", async (t) => {
  const ask = await startAsking(t, { authSecret: secret });
  const alice = await tokenFor("Alice");

  const none = await ask("GET /v1/users/alice/home");
  t.equal(none.status, 401);
  t.equal(none.headers["www-authenticate"], "Bearer");
  t.match((await ask("GET /v1/users/alice/home?user=alice")).error, { code: "unauthenticated" });
  const expired = await tokenFor("alice", { expires: 1 });
  t.match((await ask("GET /v1/users/alice/home", { token: expired })).error, { message: /expired/ });
  const basic = { headers: { authorization: "Basic YWxpY2U6" } };
  t.match((await ask("GET /v1/users/alice/home", basic)).error, { field: "authorization" });

  t.equal(
    (await ask("GET /v1/users/alice/home", { token: alice })).status,
    200,
    "one's own handle, in any case",
  );
  t.equal((await ask(`GET /v1/users/aLICE/home?token=${alice}`)).status, 200, "a token in the query");
  t.equal(
    (await ask("GET /v1/users/bob/home", { token: alice })).status,
    403,
    "another's home is not one's own",
  );
  t.match((await ask("PUT /v1/users/bob/follows/alice", { token: alice })).error, {
    code: "forbidden",
    message: /"backend"/,
  });

  const app = await tokenFor("app", { scope: "read write backend" });
  t.equal((await ask("PUT /v1/users/bob/follows/alice", { token: app })).status, 200);
  const post = await ask("POST /v1/posts", { token: app, body: { as: "alice", text: "hi" } });
  t.equal(post.status, 201);
  const read = await ask("GET /v1/streams/home?as=bob", { token: app });
  t.match(read.json["items"], [{ event: "post", post: { author: "alice", text: "hi" } }]);
  t.match((await ask("GET /v1/streams/home?as=bob", { token: alice })).error, { code: "forbidden" });

  const reader = await tokenFor("alice", { scope: "read" });
  t.equal((await ask("POST /v1/posts", { token: reader, body: { text: "hi" } })).status, 403);
  t.equal((await ask("GET /v1/streams/firehose", { token: reader })).status, 403);
  const watcher = await tokenFor("eve", { scope: "read firehose" });
  t.equal((await ask("GET /v1/streams/firehose", { token: watcher })).status, 200);
});

await tap.test("who sends too many commands is told when to come back", async (t) => {
  const ask = await startAsking(t, { authSecret: secret, userRate: 0.01, userBurst: 2 });
  const token = await tokenFor("alice");
  const post = (): Promise<Answer> => ask("POST /v1/posts", { token, body: { text: "hi" } });
  t.equal((await post()).status, 201);
  t.equal((await post()).status, 201);
  const refused = await post();
  t.equal(refused.status, 429);
  t.match(refused.error, { code: "rate_limited", retryable: true });
  const { retryAfterMs = 0 } = refused.error;
  t.ok(retryAfterMs > 1_000);
  t.equal(refused.headers["retry-after"], String(Math.ceil(retryAfterMs / 1_000)));
});

await tap.test("who posts too many bytes, or reads too much, is told when to come back", async (t) => {
  const rates = { userBytes: 1, userBytesBurst: 1_000, userReadRate: 0.01, userReadBurst: 15 };
  const ask = await startAsking(t, { authSecret: secret, ...rates });
  const token = await tokenFor("alice");
  const post = (text: string): Promise<Answer> => ask("POST /v1/posts", { token, body: { text } });
  t.equal((await post("x".repeat(900))).status, 201);
  const refused = [await post("x".repeat(900))];
  t.equal((await post("x".repeat(50))).status, 201, "what is small enough still goes");
  t.equal((await ask("GET /v1/users/alice/home", { token })).status, 200);
  while ((await ask("GET /v1/posts/none", { token })).status === 404); // each counts a little
  refused.push(await ask("GET /v1/users/alice/home", { token }));
  refused.push(await ask("GET /v1/users/alice/following", { token }));
  for (const { status, error, headers } of refused) {
    t.equal(status, 429);
    t.match(error, { code: "rate_limited", retryable: true });
    t.ok(Number(headers["retry-after"]) > 1);
  }
  t.equal((await ask("GET /v1/users/bob/home", { token: await tokenFor("bob") })).status, 200);
});

await tap.test("health is alive; readiness says why it does not serve", async (t) => {
  let reason: string | undefined;
  const { url } = await startServer(t, { health: { readiness: () => reason } });
  t.same((await call(url, "GET /healthz")).json, { status: "alive", version: "1.2.3" });
  t.same((await call(url, "GET /readyz")).json, { status: "ready" });
  reason = "the disk is full";
  const unready = await call(url, "GET /readyz");
  t.equal(unready.status, 503);
  t.match(unready.error, { code: "unavailable", message: reason, retryable: true });
  t.equal((await call(url, "GET /healthz")).status, 200);
});

await tap.test(
  "the browser client is served with a validator, and again when it was built anew",
  async (t) => {
    const file = join(t.testdir(), "client.js");
    const { url } = await startServer(t, { browserClientFile: file });
    const missing = await call(url, "GET /client.js");
    t.equal(missing.status, 404);
    t.match(missing.error.message, /npm run build/);

    await writeFile(file, "export const one = 1;");
    const got = await call(url, "GET /client.js");
    t.equal(got.text, "export const one = 1;");
    t.match(got.headers["content-type"], /^text\/javascript/);
    t.equal(got.headers["cache-control"], "no-cache");
    const conditional = { headers: { "if-none-match": String(got.headers.etag) } };
    const same = await call(url, "GET /client.js", conditional);
    t.equal(same.status, 304);
    t.equal(same.text, "");

    await writeFile(file, "export const twelve = 12;");
    const changed = await call(url, "GET /client.js", conditional);
    t.equal(changed.status, 200);
    t.equal(changed.text, "export const twelve = 12;");
    t.not(changed.headers.etag, got.headers.etag);
  },
);

await tap.test("every answer forbids sniffing, framing, caching and leaking its URL", async (t) => {
  const ask = await startAsking(t);
  for (const line of [
    "GET /v1/users/alice/home",
    "GET /nothing",
    "GET /healthz",
    "GET /v1/streams/%zz?user=a",
  ]) {
    t.match((await ask(line)).headers, { "content-type": "application/json; charset=utf-8" }, line);
  }
  t.match((await ask("GET /v1/users/alice/home")).headers, {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": /frame-ancestors 'none'/,
  });
  const head = await ask("HEAD /v1/users/alice/home");
  t.equal(head.status, 200);
  t.equal(head.text, "");
});
