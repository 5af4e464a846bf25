/* Bad input: each gets a clear error, or the documented close, and harms nothing. */

import tap, { type Test } from "tap";

import { type CodecName, encode, limits } from "../../protocol/index.ts";
import { SessionBroker } from "./session-broker.ts";
import { type Message, SessionClient } from "./session-client.ts";

const beyondAnyOffset = "999999999999999";

await tap.test(
  "a bad request is refused by a code and the field at fault, and the next one is served",
  async (t) => {
    const { broker, bob } = await start(t);
    const { epoch } = broker.state.positions;
    const { id } = await bob.request("post", { text: "first" });
    await bob.request("follow", { user: "alice" });
    const nested: Message = {};
    let inner = nested;
    for (let level = 0; level < limits.dataDepth + 1; level++) inner = inner["in"] = {};
    const refused: [op: string, fields: Message, code: string, field?: string][] = [
      ["dance", {}, "unknown_op", "op"],
      ["__proto__", {}, "unknown_op", "op"],
      ["constructor", {}, "unknown_op", "op"],
      ["post", {}, "bad_request", "text"],
      ["post", { text: 7 }, "bad_request", "text"],
      ["post", { text: "a", colour: "red" }, "bad_request", "colour"],
      ["post", { text: "a", mentions: ["b c"] }, "bad_request", "mentions.0"],
      ["post", { text: "a", tags: ["ok", "#"] }, "bad_request", "tags.1"],
      ["post", { text: "x".repeat(limits.textBytes + 1) }, "too_large", "text"],
      ["post", { text: "a", data: "x".repeat(limits.dataBytes) }, "too_large", "data"],
      ["post", { text: "a", data: nested }, "too_large", "data"],
      ["post", { text: "a", replyTo: "nothing" }, "not_found", "replyTo"],
      ["post", { text: "a", replyTo: `${epoch}-${beyondAnyOffset}` }, "not_found", "replyTo"],
      ["repost", { post: `${epoch}-${beyondAnyOffset}` }, "not_found", "post"],
      ["delete", { post: `${epoch}-${beyondAnyOffset}` }, "not_found", "post"],
      ["get", { post: `${epoch}-${beyondAnyOffset}` }, "not_found", "post"],
      ["delete", { post: `other-1` }, "not_found", "post"],
      ["follow", { user: "BOB" }, "bad_request", "user"],
      ["follow", { user: "a b" }, "bad_request", "user"],
      ["relationship", { user: "nobody" }, "not_found", "user"],
      ["followers", { after: "-1" }, "bad_request", "after"],
      ["followers", { after: "1e99" }, "bad_request", "after"],
      ["subscribe", { stream: "nowhere" }, "bad_request", "stream"],
      ["subscribe", { stream: "thread:nothing" }, "not_found", "stream"],
      ["subscribe", { stream: `thread:${epoch}-${beyondAnyOffset}` }, "not_found", "stream"],
      ["subscribe", { stream: "home", filter: { from: "mutuals" } }, "bad_request", "filter.from"],
      ["subscribe", { stream: "home", sub: 0 }, "bad_request", "sub"],
      ["subscribe", { stream: "home", from: "yesterday" }, "bad_request", "from"],
      ["subscribe", { stream: "home", from: "other-1" }, "epoch_mismatch", "from"],
      ["subscribe", { stream: "home", from: `${epoch}-1000` }, "cursor_in_future", "from"],
      ["subscribe", { stream: "home", from: `${epoch}-${beyondAnyOffset}` }, "bad_request", "from"],
      ["unsubscribe", { sub: 9 }, "not_found", "sub"],
      ["ack", { sub: 9, cursor: `${epoch}-0` }, "not_found", "sub"],
      ["read", { stream: "home", before: `${epoch}-${beyondAnyOffset}` }, "bad_request", "before"],
      ["read", { stream: "home", after: `${epoch}-1000` }, "cursor_in_future", "after"],
      ["read", { stream: "home", after: "other-1" }, "epoch_mismatch", "after"],
      ["read", { stream: "home", before: `${epoch}-1`, after: `${epoch}-1` }, "bad_request", "before"],
      ["read", { stream: "home", limit: 1e308 }, "bad_request", "limit"],
      ["read", { stream: "home", limit: 1.5 }, "bad_request", "limit"],
      ["cursor", { stream: "home", set: `${epoch}-1000` }, "cursor_in_future", "set"],
    ];
    for (const [op, fields, code, field] of refused) {
      const error = await bob.request(op, fields).then(
        () => ({ code: "none" }),
        (refusal: unknown) => refusal,
      );
      t.match(
        error,
        { code, ...(field === undefined ? {} : { details: { field } }) },
        `${op} ${name(fields)}`,
      );
    }
    t.match(await bob.request("get", { post: id }), { post: { text: "first" } });
    t.same(await bob.request("following"), { users: ["alice"] });
    t.equal(broker.log.refusal, undefined);
    t.same(broker.faults, []);
  },
);

await tap.test("a request that cannot be applied does not harm those that share its batch", async (t) => {
  const { broker, bob } = await start(t);
  const bad = { post: `${broker.state.positions.epoch}-${beyondAnyOffset}` };
  const [before, refused, after] = await Promise.allSettled([
    bob.request("post", { text: "before" }),
    bob.request("repost", bad),
    bob.request("post", { text: "after" }),
  ]);
  t.equal(before.status, "fulfilled");
  t.match(refused, { status: "rejected", reason: { code: "not_found" } });
  t.equal(after.status, "fulfilled");
});

await tap.test(
  "what is no request, or has an id that cannot be answered, is answered with the id null",
  async (t) => {
    const { bob } = await start(t);
    const frames: unknown[] = [[], "ping", 7, null, { op: 7 }, { id: -1, op: "ping" }];
    for (const frame of frames) bob.sendRaw(JSON.stringify(frame));
    bob.sendRaw('{"id":1e400,"op":"ping"}');
    await bob.until(() => bob.others.length === frames.length + 1);
    for (const answer of bob.others) t.match(answer, { id: null, error: { code: "bad_request" } });
    await bob.request("ping");
  },
);

await tap.test(
  "what data cannot hold is refused: __proto__, numbers beyond a double, deep nesting",
  async (t) => {
    const { bob } = await start(t);
    const deep = "[".repeat(30_000) + "]".repeat(30_000);
    const refused: [frame: string, code: string, field: string][] = [
      ['{"op":"post","text":"a","data":{"__proto__":{"polluted":true}}}', "bad_request", "data"],
      ['{"op":"post","text":"a","data":[{"n":1e400}]}', "bad_request", "data"],
      [`{"op":"post","text":"a","data":${deep}}`, "too_large", "data"],
      ['{"op":"ping","__proto__":{"op":"post"}}', "bad_request", "__proto__"],
      [`{"op":"ping","x":${deep}}`, "bad_request", "x"],
    ];
    for (const [frame, code, field] of refused) {
      const count = bob.others.length;
      bob.sendRaw(`{"id":1000,${frame.slice(1)}`);
      await bob.until(() => bob.others.length > count);
      t.match(bob.others.at(-1), { id: 1000, error: { code, field } }, frame.slice(0, 60));
    }
    const data = JSON.parse('{"constructor":{"prototype":1},"toString":null,"":-0.5}') as object;
    const { id } = await bob.request("post", { text: "a", data });
    t.match(await bob.request("get", { post: id }), { post: { data } });
    t.equal(({} as Message)["polluted"], undefined);
  },
);

for (const codec of ["json", "msgpack"] as const) {
  await tap.test(
    `${codec}: frames that cannot be decoded are told, and too many close with 4400`,
    async (t) => {
      const { broker } = await start(t);
      const client = await broker.connect("carol", { codec });
      for (const frame of undecodable(codec)) {
        const count = client.others.length;
        client.sendRaw(frame);
        await client.until(() => client.others.length > count);
        t.match(client.others.at(-1), { id: null, error: { code: "bad_frame" } });
        await client.request("ping");
      }
      for (let sent = 0; sent < limits.badFrames; sent++)
        client.sendRaw(codec === "json" ? "{" : Buffer.of(0xc1));
      t.match(await client.closed, { code: 4400 });
    },
  );
}

await tap.test("a frame over the limit closes with 1009", async (t) => {
  const { bob } = await start(t);
  bob.sendRaw(`{"op":"ping","x":"${"x".repeat(limits.frameBytes)}"}`);
  t.match(await bob.closed, { code: 1009 });
});

await tap.test("a text frame that is not UTF-8 closes with 1007", async (t) => {
  const { bob } = await start(t);
  bob.socket.send(Buffer.of(0x22, 0xc3, 0x28, 0x22), { binary: false });
  t.match(await bob.closed, { code: 1007 });
});

await tap.test("a request before hello is refused, and hello still works", async (t) => {
  const { broker } = await start(t);
  const client = await SessionClient.open(broker.url);
  await t.rejects(client.request("ping"), { code: "hello_first" });
  await t.rejects(client.request("post", { text: "a" }), { code: "hello_first" });
  await client.request("hello", { user: "carol" });
  await client.request("ping");
});

await tap.test("before hello a client may send a token, and not much more", async (t) => {
  const { broker } = await start(t);
  const large = "x".repeat(limits.helloFrameBytes); // no JSON: it is not decoded
  const crowd = await SessionClient.open(broker.url);
  crowd.sendRaw(large);
  await crowd.until(() => crowd.others.length === 1);
  t.match(crowd.others, [{ id: null, error: { code: "bad_frame" } }]);
  crowd.sendRaw(`${large}x`);
  await crowd.until(() => crowd.others.length === 2);
  t.match(crowd.others[1], { id: null, error: { code: "too_large", message: /20480/ } });
  for (let sent = 2; sent < limits.badFrames; sent++) crowd.sendRaw(`${large}x`);
  t.match(await crowd.closed, { code: 4400 });

  const chatty = await SessionClient.open(broker.url);
  for (let sent = 0; sent < limits.helloRequests; sent++)
    await t.rejects(chatty.request(sent % 2 === 0 ? "ping" : "dance"), { code: /hello_first|unknown_op/ });
  chatty.send({ op: "ping" });
  t.match(await chatty.closed, { code: 4029 });

  const data = "x".repeat(limits.dataBytes - 2);
  const text = "y".repeat(limits.textBytes);
  const quick = await SessionClient.open(broker.url);
  const said = [quick.request("hello", { user: "quick" })];
  for (let i = 0; i < 3 * limits.helloRequests; i++) said.push(quick.request("post", { text, data }));
  await Promise.all(said);
  await quick.close();
});

await tap.test("a request of no shape counts against the rate as several", async (t) => {
  const connectionRate = { perSecond: 1, burst: 31 }; // hello is one
  const broker = await SessionBroker.for(t, { scopes: ["read", "write"], connectionRate, now: () => 0 });
  const bob = await broker.connect("bob");
  const mentions = Array(1_000).fill(1);
  for (let sent = 0; sent < 6; sent++)
    await t.rejects(bob.request("post", { text: "", mentions }), { code: "bad_request" });
  await t.rejects(bob.request("ping"), { code: "rate_limited" });
});

await tap.test("a refused hello closes with 4401", async (t) => {
  const { broker } = await start(t);
  const client = await SessionClient.open(broker.url);
  await t.rejects(client.request("hello", {}), { code: "unauthenticated" });
  t.match(await client.closed, { code: 4401 });
});

await tap.test("who floods is told to wait, and closed with 4029 when they do not", async (t) => {
  const broker = await SessionBroker.for(t, {
    scopes: ["read", "write"],
    connectionRate: { perSecond: 1, burst: 11 }, // hello is one
    now: () => 0,
  });
  const bob = await broker.connect("bob");
  const pings = await Promise.allSettled(Array.from({ length: 20 }, () => bob.request("ping")));
  t.equal(pings.filter(({ status }) => status === "fulfilled").length, 10);
  t.match(pings.at(-1), {
    reason: { code: "rate_limited", retryable: true, details: { retryAfterMs: 1000 } },
  });
  for (let sent = 0; sent < 1_000; sent++) bob.send({ op: "ping" });
  t.match(await bob.closed, { code: 4029 });
});

function* undecodable(codec: CodecName): Generator<string | Uint8Array> {
  if (codec === "json") {
    yield "";
    yield "{";
    yield "undefined";
    yield '{"op":"ping"} more';
    yield Buffer.from('{"op":"ping"}');
    return;
  }
  yield "text";
  yield Buffer.of();
  yield Buffer.of(0xc1);
  yield Buffer.of(0x82, 0xa2, 0x6f);
  yield Buffer.concat([Buffer.from(encode("msgpack", { op: "ping" })), Buffer.of(1)]);
  yield Buffer.of(0xc4, 0x01, 0x00); // binary
  yield Buffer.of(0xd6, 0xff, 0, 0, 0, 1); // a timestamp
  yield Buffer.from("d40070", "hex"); // an extension
  yield Buffer.alloc(60_000, 0x91); // deep nesting
}

async function start(t: Test): Promise<{ broker: SessionBroker; bob: SessionClient }> {
  const broker = await SessionBroker.for(t);
  return { broker, bob: await broker.connect("bob") };
}

function name(fields: Message): string {
  return JSON.stringify(fields).slice(0, 80);
}

await tap.test(
  "half a character is refused wherever it stands, so that no two keys become one",
  async (t) => {
    const { broker } = await start(t);
    const alice = await SessionClient.open(broker.url, { user: "alice" });
    for (const [fields, field] of [
      [{ text: "\ud800" }, "text"],
      [{ text: "a", key: "\udfff" }, "key"],
      [{ text: "a", tags: ["x\ud800"] }, "tags"],
      [{ text: "a", data: { a: ["\ud800"] } }, "data"],
      [{ text: "a", data: { "\ud800": 1 } }, "data"],
    ] as const) {
      await t.rejects(alice.request("post", fields), { code: "bad_request", details: { field } });
    }
    const { id } = await alice.request("post", { text: "whole: \ud83d\udc0b", key: "\ud83d\udc0b" });
    t.match(await alice.request("get", { post: id }), { post: { text: "whole: \ud83d\udc0b" } });
  },
);

function postFrame(text: number[], key: number[]): Buffer {
  return Buffer.concat([
    Buffer.from("83a26f70a4706f7374a474657874", "hex"), // {"op": "post", "text":
    Buffer.of(0xa0 | text.length, ...text),
    Buffer.from("a36b6579", "hex"), // "key":
    Buffer.of(0xa0 | key.length, ...key),
  ]);
}

/** A string as msgpack has it. */
function packed(text: string): Buffer {
  return Buffer.from(encode("msgpack", text as unknown as object));
}

await tap.test("msgpack whose strings are not UTF-8 is a bad frame, and nothing of it is kept", async (t) => {
  const { broker } = await start(t);
  const client = await broker.connect("carol", { codec: "msgpack" });
  for (const frame of [
    postFrame([0x63, 0x61, 0x66, 0xe9], [0x6b]),
    postFrame([0x61], [0xe9, 0x31]),
    postFrame([0x61], [0xe8, 0x31]),
  ]) {
    const count = client.others.length;
    client.sendRaw(frame);
    await client.until(() => client.others.length > count);
    t.match(client.others.at(-1), { id: null, error: { code: "bad_frame", message: /not UTF-8/ } });
  }
  t.equal(broker.head, 0);
  t.ok(await client.request("post", { text: "café", key: "é1" }));
});

await tap.test("the same map is judged the same in either codec", async (t) => {
  const { broker } = await start(t);
  const levels = 10_000;
  const deep = { json: "[".repeat(levels) + "]".repeat(levels), bytes: Buffer.alloc(levels, 0x91) };
  deep.bytes[levels - 1] = 0x90;
  const proto = {
    json: '{"__proto__":{"a":1}}',
    bytes: Buffer.concat([Buffer.of(0x81), packed("__proto__"), Buffer.of(0x81, 0xa1, 0x61, 1)]),
  };
  const frames: [json: string, msgpack: Buffer][] = [];
  for (const { json, bytes } of [deep, proto]) {
    for (const field of ["data", "x", "filter", "text", "__proto__"]) {
      frames.push([
        `{"id":9999,"op":"post","text":"a",${JSON.stringify(field)}:${json}}`,
        Buffer.concat([
          Buffer.of(0x84),
          packed("id"),
          Buffer.of(0xcd, 0x27, 0x0f),
          packed("op"),
          packed("post"),
          packed("text"),
          packed("a"),
          packed(field),
          bytes,
        ]),
      ]);
    }
  }
  for (const value of [
    { "": 1 },
    [null],
    1e300,
    -7,
    "x".repeat(17_000),
    Array(17_000).fill(0),
    { toJSON: 1 },
  ])
    for (const field of ["data", "text", "as", "mentions", "key", "id", "op", "colour"])
      for (const op of ["post", "subscribe"]) {
        const message = { id: 9999, op, text: "a", stream: "home", [field]: value };
        frames.push([JSON.stringify(message), Buffer.from(encode("msgpack", message))]);
      }
  const clients = {
    json: await broker.connect("dora", { codec: "json" }),
    msgpack: await broker.connect("dora", { codec: "msgpack" }),
  };
  for (const [json, msgpack] of frames) {
    const answers: unknown[] = [];
    for (const [client, frame] of [
      [clients.json, json],
      [clients.msgpack, msgpack],
    ] as const) {
      const count = client.others.length;
      client.sendRaw(frame);
      await client.until(() => client.others.length > count);
      const { id, error } = client.others.at(-1) as { id: number; error?: Message };
      answers.push([id, error?.["code"], error?.["field"]]);
    }
    t.same(answers[1], answers[0], json.slice(0, 100));
  }
});
