/* Streams as Server-Sent Events. */

import { Agent } from "node:http";

import tap from "tap";

import { Broker } from "../../broker/broker.ts";
import type { Authenticator } from "../../broker/sessions/index.ts";
import { TokenAuthenticator } from "../../broker/sessions/token-authenticator.ts";
import type { Subscription } from "../../broker/streams/index.ts";
import { WhalesongError } from "../../protocol/index.ts";
import { workers } from "../workers/count.ts";
import { EventReader, type ServerEvent } from "./event-reader.ts";
import { type Test, call, dataFolder, secret, startBroker, startServer, tokenFor } from "./server.ts";

async function publish(url: string, user: string, text: string): Promise<string> {
  const { json, text: answer } = await call(url, `POST /v1/posts?user=${user}`, { body: { text } });
  if (json["id"] === undefined) throw new Error(answer);
  return json["id"] as string;
}

function openStream(
  t: { teardown: Test["teardown"] },
  url: string,
  { query, headers }: { query: string; headers?: Record<string, string> },
): Promise<EventReader> {
  return EventReader.open(`${url}/v1/stream?${query}`, headers).then((reader) => {
    t.teardown(async () => reader.close());
    return reader;
  });
}

function textOf({ data }: ServerEvent): string {
  return (data!["post"] as { text: string }).text;
}

await tap.test("a stream begins with where it stands, and goes on live", async (t) => {
  const { url } = await startBroker(t);
  await publish(url, "bob", "before");
  await call(url, "PUT /v1/users/alice/follows/bob");
  const reader = await openStream(t, url, { query: "stream=home&user=alice" });
  t.match(reader.response.headers, { "cache-control": "no-store", "x-accel-buffering": "no" });

  const first = await reader.next();
  t.match(first, { retry: 2_000, event: undefined, data: undefined });
  t.ok(first?.id, "an id alone: a client that is cut off at once resumes from here");
  const [live] = await reader.expect("live");
  t.equal(live!.id, first?.id);
  const id = await publish(url, "bob", "hi\nthere\r\n\r\nid: 7 é #node");
  const [post] = await reader.expect("post");
  t.equal(post!.id, id);
  t.match(post!.data, {
    event: "post",
    cursor: id,
    post: { id, author: "bob", text: "hi\nthere\r\n\r\nid: 7 é #node", tags: ["node"] },
  });
  t.notOk("sub" in post!.data!);
  await call(url, `DELETE /v1/posts/${id}?user=bob`);
  const [gone] = await reader.expect("delete");
  t.match(gone!.data, { event: "delete", id });
});

await tap.test("Last-Event-ID resumes after it, whatever `from` says", async (t) => {
  const { url } = await startBroker(t);
  const ids: string[] = [];
  for (const text of ["one", "two", "three"]) ids.push(await publish(url, "bob", text));
  const after = async (query: string, headers = {}): Promise<string[]> => {
    const reader = await openStream(t, url, { query: `stream=user:bob&user=alice${query}`, headers });
    const texts: string[] = [];
    for (;;) {
      const event = await reader.next();
      if (event?.event === "live") return texts;
      if (event?.event === "post") texts.push(textOf(event));
    }
  };
  t.same(await after("&from=earliest"), ["one", "two", "three"]);
  t.same(await after(`&from=${ids[1]}`), ["three"]);
  t.same(await after("&from=earliest", { "last-event-id": ids[0] }), ["two", "three"]);
  t.same(await after(`&from=earliest&lastEventId=${ids[0]}`), ["two", "three"]);
  t.same(await after(`&lastEventId=${ids[0]}`, { "last-event-id": ids[1]! }), ["three"]);
  t.same(await after(""), [], "live without a device");
  t.same(await after("&from=live&device=phone"), []);
});

await tap.test("a device resumes from its durable cursor, which is moved by PUT", async (t) => {
  const { url } = await startBroker(t);
  const query = "stream=mentions&user=alice&device=phone";
  const first = await openStream(t, url, { query });
  await first.expect("live");
  const one = await publish(url, "bob", "one @alice");
  const two = await publish(url, "bob", "two @alice");
  t.same((await first.expect("post", "post")).map(textOf), ["one @alice", "two @alice"]);
  first.close();

  const again = await openStream(t, url, { query });
  t.same((await again.expect("post", "post")).map(textOf), ["one @alice", "two @alice"], "nothing was said");
  again.close();
  await call(url, "PUT /v1/users/alice/cursors/mentions?device=phone", { body: { set: one } });
  const [event] = await (await openStream(t, url, { query })).expect("post");
  t.equal(event!.id, two);
});

await tap.test("filters narrow it; `from` is where to start, so mentions say filter.from", async (t) => {
  const { url } = await startBroker(t);
  await call(url, "PUT /v1/users/alice/follows/bob");
  const reader = await openStream(t, url, {
    query: "stream=mentions&filter.from=following&from=earliest&user=alice",
  });
  await publish(url, "carol", "stranger @alice");
  await publish(url, "bob", "friend @alice");
  t.equal(textOf((await reader.expect("post"))[0]!), "friend @alice");
  const home = await openStream(t, url, { query: "stream=home&replies=none&from=earliest&user=alice" });
  t.equal(textOf((await home.expect("post"))[0]!), "friend @alice");
});

await tap.test("what cannot be streamed is refused like any request", async (t) => {
  const { url } = await startBroker(t);
  const id = await publish(url, "bob", "hi");
  const beyond = id.replace(/-\d+$/, "-999999");
  for (const [query, status, message] of [
    ["user=alice", 400, /stream: subscribe needs this field/],
    ["stream=home", 401, /user/],
    ["stream=home&user=alice&token=x", 401, /open mode/],
    ["stream=nonsense&user=alice", 400, /none of home/],
    ["stream=thread:nope&user=alice", 404, /no post/],
    ["stream=home&user=alice&filter.from=mutuals", 400, /filter.from: /],
    ["stream=home&user=alice&sub=1", 400, /sub: there is no such parameter/],
    ["stream=home&user=alice&from=yesterday", 400, /from: "yesterday" is not a cursor/],
    [`stream=home&user=alice&from=${beyond}`, 400, /from: .*beyond the head/],
    ["stream=home&user=alice&lastEventId=zzzzzzzz-1", 410, /epoch_mismatch/],
    [`stream=home&user=alice&device=${"d".repeat(65)}`, 400, /device: /],
  ] as const) {
    const opening = EventReader.open(`${url}/v1/stream?${query}`);
    await t.rejects(opening, { message: new RegExp(`^${status} .*${message.source}`) }, query);
  }
  t.match((await call(url, "GET /metrics")).text, /^whalesong_sessions 0$/m, "and leaves no session behind");
});

await tap.test("comments keep a quiet stream alive", async (t) => {
  const { url } = await startServer(t, { heartbeatMs: 5 });
  const reader = await openStream(t, url, { query: "stream=home&user=alice" });
  await reader.expect("live");
  for (let i = 0; i < 3; i++) t.equal((await reader.next())?.isComment, true);
});

await tap.test("a broker that stops says goodbye and when to come back; nothing is missed", async (t) => {
  const data = await dataFolder(t);
  const options = { port: 0, data: data.path, logLevel: "silent", workers } as const;
  const before = await Broker.start(options);
  data.stopBy(() => before.stop(0));
  const reader = await openStream(t, before.url, { query: "stream=user:bob&user=alice" });
  await reader.expect("live");
  const last = await publish(before.url, "bob", "last words");
  await reader.expect("post");
  const stopped = before.stop(0);
  const [goodbye] = await reader.expect("goodbye");
  t.match(goodbye, { data: { event: "goodbye", reason: "draining" }, id: undefined });
  t.equal(goodbye!.retry, goodbye!.data!["reconnectMs"]);
  t.equal(await reader.next(), undefined, "then the answer ends");
  await stopped;

  const after = await Broker.start(options);
  data.stopBy(() => after.stop(0));
  await publish(after.url, "bob", "first words");
  const headers = { "last-event-id": last };
  const again = await openStream(t, after.url, { query: "stream=user:bob&user=alice", headers });
  t.equal(textOf((await again.expect("post"))[0]!), "first words");
});

await tap.test("a token that expires ends the stream, which says so", async (t) => {
  const authenticator = await TokenAuthenticator.create({ secret });
  const { url } = await startServer(t, { authenticator });
  const token = await tokenFor("alice", { expires: Math.floor(Date.now() / 1_000) + 2 });
  const reader = await openStream(t, url, { query: `stream=home&token=${token}` });
  const [end] = await reader.expect("end");
  t.match(end!.data, { error: { code: "unauthenticated", message: /expired/ } });
  t.equal(await reader.next(), undefined);
  // Clocks may differ by some seconds, so this token still passes; what it opens ends before it begins.
  const over = await tokenFor("alice", { expires: Math.floor(Date.now() / 1_000) - 2 });
  const late = await EventReader.open(`${url}/v1/stream?stream=home&token=${over}`).then(
    async (stream) => JSON.stringify(await stream.expect("end")),
    (error: Error) => error.message,
  );
  t.match(late, /unauthenticated/);
});

await tap.test("a stream whose entries are gone ends, and says so", async (t) => {
  const { url, streams, end } = await startServer(t);
  const opened: Subscription[] = [];
  const open = streams.open.bind(streams);
  streams.open = (subscription) => {
    opened.push(subscription);
    open(subscription);
  };
  const reader = await openStream(t, url, { query: "stream=home&user=alice" });
  await reader.expect("live");
  end(opened[0]!);
  const [last] = await reader.expect("end");
  t.match(last!.data, { event: "end", error: { code: "cursor_too_old" } });
  t.notOk("sub" in last!.data!);
  t.equal(await reader.next(), undefined);
  t.match((await call(url, "GET /metrics")).text, /^whalesong_sessions 0$/m);
});

await tap.test("a reader that leaves is let go", async (t) => {
  const { url } = await startBroker(t);
  const reader = await openStream(t, url, { query: "stream=home&user=alice" });
  await reader.expect("live");
  const sessions = async (): Promise<string | undefined> =>
    /^whalesong_sessions (\d+)$/m.exec((await call(url, "GET /metrics")).text)?.[1];
  t.equal(await sessions(), "1");
  reader.close();
  while ((await sessions()) !== "0"); // a reader that is kept would time this out
  t.pass("no session is left");
});

await tap.test(
  "a slow reader is dropped from live delivery, not from the stream: it gets every post, in order",
  async (t) => {
    const { url } = await startBroker(t);
    const reader = await openStream(t, url, { query: "stream=user:bob&user=alice" });
    await reader.expect("live");
    reader.response.pause();
    const filler = "x".repeat(16_000);
    let count = 0;
    let fallBacks = 0;
    while (fallBacks === 0) {
      if (count >= 5_000) throw new Error("the reader's buffers never filled");
      const posts = Array.from({ length: 50 }, () => publish(url, "bob", `${count++} ${filler}`));
      await Promise.all(posts);
      const { text } = await call(url, "GET /metrics");
      fallBacks = Number(/^whalesong_fallbacks_total (\d+)$/m.exec(text)?.[1]);
    }
    const page = await call(url, "GET /v1/users/bob/posts?user=alice&limit=1");
    const lastId = (page.json["items"] as { cursor: string }[])[0]!.cursor;
    reader.response.resume();
    const offsets: number[] = [];
    const seen = new Set<string>();
    for (;;) {
      const [post] = await reader.expect("post");
      offsets.push(Number(post!.id!.split("-")[1]));
      seen.add(textOf(post!).split(" ")[0]!);
      if (post!.id === lastId) break;
    }
    t.equal(seen.size, count, "none is missing");
    t.equal(offsets.length, count, "none comes twice");
    t.same(
      offsets,
      offsets.toSorted((a, b) => a - b),
      "in order",
    );
  },
);

await tap.test("a page that is allowed may read a stream", async (t) => {
  const origin = "https://app.example";
  const { url } = await startServer(t, { corsOrigins: [origin] });
  const reader = await openStream(t, url, { query: "stream=home&user=alice", headers: { origin } });
  t.match(reader.response.headers, {
    "access-control-allow-origin": origin,
    "x-content-type-options": "nosniff",
  });
  await t.rejects(
    EventReader.open(`${url}/v1/stream?stream=home&user=alice`, { origin: "https://evil.example" }),
    /403/,
  );
});

await tap.test(
  "what may succeed later is told in a stream, so that an EventSource comes back for it",
  async (t) => {
    let fault: Error = new WhalesongError("unavailable", "the keys cannot be fetched");
    const authenticator: Authenticator = {
      isOpen: false,
      authenticate: async () => {
        throw fault;
      },
    };
    const origin = "https://app.example";
    const { url, faults } = await startServer(t, { authenticator, corsOrigins: [origin] });
    const open = (): Promise<EventReader> =>
      EventReader.open(`${url}/v1/stream?stream=home&token=x`, { origin, accept: "text/event-stream" });
    for (const [error, retry, code] of [
      [fault, 2_000, "unavailable"],
      [new WhalesongError("rate_limited", "too fast", { retryAfterMs: 8_765 }), 8_765, "rate_limited"],
      [new WhalesongError("storage_full", "no room"), 2_000, "storage_full"],
      [new Error("a fault"), 2_000, "internal"],
    ] as const) {
      fault = error;
      const reader = await open();
      t.equal(reader.response.headers["access-control-allow-origin"], origin, "a page may read it");
      t.match(await reader.next(), {
        event: "end",
        retry,
        id: undefined,
        data: { event: "end", error: { code, retryable: true } },
      });
      t.equal(await reader.next(), undefined);
    }
    t.same(faults, [fault], "a fault is one once");
    fault = new WhalesongError("unauthenticated", "token: it expired");
    await t.rejects(open(), { message: /^401 unauthenticated/ }, "what cannot succeed keeps its status");
  },
);

await tap.test("an EventSource that asks too often is told when to come back", async (t) => {
  const { url } = await startBroker(t, { authSecret: secret, connectionRate: 0.001, connectionBurst: 1 });
  const token = await tokenFor("alice");
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(async () => agent.destroy());
  const first = await call(url, "GET /v1/users/alice/home", { token, agent });
  t.equal(first.status, 200);
  const { status, text } = await call(url, "GET /v1/stream?stream=home", { token, agent });
  t.equal(status, 200);
  t.match(text, /^retry: \d{4,}\nevent: end\ndata: \{.*"rate_limited".*\}\n\n$/);
});
