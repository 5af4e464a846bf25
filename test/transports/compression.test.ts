/* permessage-deflate: what is agreed on, what the frames look like, that an entry is compressed once, and what bad input comes to. */

import { constants, deflateRawSync, inflateRawSync } from "node:zlib";

import fc from "fast-check";
import tap, { type Test } from "tap";

import type { Broker } from "../../broker/broker.ts";
import {
  acceptableOffer,
  deflatingEncoders,
  leastDeflatedBytes,
  mostDeflatedBytes,
} from "../../broker/transports/compression.ts";
import { WebSocketEncoder } from "../../broker/transports/websocket-frames.ts";
import { connect } from "../../clients/node/index.ts";
import { closeCodes, decode, limits } from "../../protocol/index.ts";
import { workers } from "../workers/count.ts";
import { RawSocket } from "./raw-socket.ts";
import { startBroker } from "./server.ts";

const chromium = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
const agreed =
  "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=13";
const msgpack = "Sec-WebSocket-Protocol: whalesong.v1.msgpack";
const text = "what a whale sings is heard by whoever follows it, and sung again. ".repeat(10);
const rsv1 = 0x40;

await tap.test("a broker that was not told to compress declines", async (t) => {
  const { url } = await startBroker(t);
  const client = await open(t, url, "/v1/ws?user=alice", [chromium]);
  t.match(client.upgrade, /^HTTP\/1\.1 101/);
  t.equal(client.extensions, undefined);
});

await tap.test("without context takeover, and with a window of 8 KiB", async (t) => {
  const { url } = await startBroker(t, { compress: true });
  t.equal((await open(t, url, "/v1/ws?user=alice", [chromium])).extensions, agreed);
  t.equal(
    (await open(t, url, "/v1/ws?user=alice")).extensions,
    undefined,
    "nobody gets what they did not ask for",
  );
});

await tap.test("an offer that cannot be taken is declined; the connection goes without", async (t) => {
  const { url } = await startBroker(t, { compress: true });
  for (const offer of [
    "permessage-deflate; server_max_window_bits=12",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; whatever",
    "permessage-bzip2",
    ";;, =",
  ]) {
    const client = await open(t, url, "/v1/ws?user=alice", [`Sec-WebSocket-Extensions: ${offer}`]);
    t.equal(client.extensions, undefined, offer);
    client.request({ id: 1, op: "ping" });
    t.equal((await client.next()).head, 0x81, `${offer}: it works`);
  }
  const second =
    "permessage-deflate; server_max_window_bits=9, permessage-deflate; server_max_window_bits=14";
  const client = await open(t, url, "/v1/ws?user=alice", [`Sec-WebSocket-Extensions: ${second}`]);
  t.match(client.extensions, /server_max_window_bits=13/, "the second offer is taken");
});

await tap.test("acceptableOffer never lets through what ws would refuse a connection for", async (t) => {
  const part = fc.constantFrom(
    "permessage-deflate",
    "x",
    "server_no_context_takeover",
    "client_no_context_takeover",
    "client_max_window_bits",
    "client_max_window_bits=9",
    'server_max_window_bits="15"',
    "server_max_window_bits=8",
    "server_max_window_bits",
    "=",
    "",
  );
  const offer = fc.array(part, { maxLength: 4 }).map((parts) => ["permessage-deflate", ...parts].join("; "));
  const { url } = await startBroker(t, { compress: true });
  await fc.assert(
    fc.asyncProperty(fc.array(offer, { minLength: 1, maxLength: 3 }), async (offers) => {
      const header = offers.join(", ");
      const client = await RawSocket.open(url, "/v1/ws?user=alice", [`Sec-WebSocket-Extensions: ${header}`]);
      client.end();
      return (
        client.upgrade.startsWith("HTTP/1.1 101") &&
        (client.extensions === undefined) === (acceptableOffer(header) === undefined)
      );
    }),
    { numRuns: 60 },
  );
});

for (const [codec, head] of [
  ["json", 0x81],
  ["msgpack", 0x82],
] as const) {
  await tap.test(
    `${codec}: a long event has RSV1 set and its tail left out; short ones go as they are`,
    async (t) => {
      const broker = await startBroker(t, { compress: true });
      const reader = await open(
        t,
        broker.url,
        "/v1/ws?user=alice",
        codec === "json" ? [chromium] : [chromium, msgpack],
      );
      const subscribe = { id: 1, op: "subscribe", stream: "user:bob", from: "live", sub: 7 };
      if (codec === "json") reader.request(subscribe);
      else reader.send(head, Buffer.from(new WebSocketEncoder("msgpack", 1).encodeBody(subscribe)));
      t.equal((await reader.next()).head, head, "the answer is short");
      t.equal((await reader.next()).head, head, "so is the event live");
      await post(broker, "bob", text);
      const frame = await reader.next();
      t.equal(frame.head, head | rsv1);
      t.not(frame.payload.subarray(-4).toString("hex"), "0000ffff");
      t.ok(
        frame.payload.length < text.length / 3,
        `${frame.payload.length} bytes for a text of ${text.length}`,
      );
      t.match(decode(codec, inflated(frame.payload, codec)), {
        sub: 7,
        event: "post",
        post: { author: "bob", text },
      });
    },
  );
}

await tap.test(
  "one entry to 100 sessions is compressed once, whatever numbers they gave their subscriptions",
  async (t) => {
    const broker = await startBroker(t, { compress: true });
    const readers = await Promise.all(
      Array.from({ length: 100 }, () => open(t, broker.url, "/v1/ws?user=alice", [chromium])),
    );
    for (const [i, reader] of readers.entries()) {
      reader.request({ id: 1, op: "subscribe", stream: "user:bob", from: "live", sub: i < 50 ? 1 : i });
      await reader.find(({ payload }) => payload.includes(`"live"`));
    }
    const before = await compressed(broker);
    await post(broker, "bob", text);
    const frames = await Promise.all(readers.map((reader) => reader.next()));
    const times = (await compressed(broker)) - before;
    t.ok(times >= 1 && times <= Math.max(1, workers), `${times} times in ${workers} workers`);
    const [first] = frames;
    for (const [i, { head, payload }] of frames.entries()) {
      t.equal(head, 0xc1);
      if (i < 50) t.ok(payload.equals(first!.payload));
      else t.match(decode("json", inflated(payload, "json")), { sub: i, post: { text } });
    }
  },
);

await tap.test("a page is compressed; catch-up too", async (t) => {
  const broker = await startBroker(t, { compress: true });
  for (let i = 0; i < 20; i++) await post(broker, "bob", `${i} ${text}`);
  const reader = await open(t, broker.url, "/v1/ws?user=alice", [chromium]);
  reader.request({ id: 1, op: "read", stream: "user:bob" });
  const page = await reader.next();
  t.equal(page.head, 0xc1);
  const answer = decode("json", inflated(page.payload, "json")) as { ok: { items: unknown[] } };
  t.equal(answer.ok.items.length, 20);
  t.ok(page.payload.length < 3_000, `${page.payload.length} bytes for 20 posts of ${text.length}`);
  reader.request({ id: 2, op: "subscribe", stream: "user:bob", from: "earliest" });
  await reader.next();
  for (let i = 0; i < 20; i++) {
    const { head, payload } = await reader.next();
    t.equal(head, 0xc1);
    t.match(decode("json", inflated(payload, "json")), {
      event: "post",
      post: { text: `${i} ${text}`.trim() },
    });
  }
});

await tap.test("a compressed request is read; the close frame is not compressed", async (t) => {
  const broker = await startBroker(t, { compress: true });
  const client = await open(t, broker.url, "/v1/ws?user=alice", [chromium]);
  client.send(0xc1, deflated(Buffer.from(JSON.stringify({ id: 1, op: "post", text }))));
  t.match(decode("json", (await client.next()).payload.toString()), { id: 1, ok: { id: String } });
  client.send(0x89, Buffer.from("ping"));
  t.strictSame(await client.next(), { head: 0x8a, payload: Buffer.from("ping") }, "pongs are not either");
  void broker.stop(0);
  t.equal(await client.closeCode(), closeCodes.draining);
});

await tap.test("what does not inflate closes with 1007, and nothing else happens", async (t) => {
  const broker = await startBroker(t, { compress: true });
  const bystander = await open(t, broker.url, "/v1/ws?user=bob", [chromium]);
  const client = await open(t, broker.url, "/v1/ws?user=alice", [chromium]);
  await post(broker, "alice", "before it");
  client.send(0xc1, Buffer.from("f00df00df00dffffffff", "hex"));
  client.request({ id: 2, op: "post", text: "behind it" });
  t.equal(await client.closeCode(), 1007);
  bystander.request({ id: 1, op: "read", stream: "user:alice" });
  const { head, payload } = await bystander.next();
  const page = (head & rsv1) === 0 ? payload.toString() : inflated(payload, "json");
  t.equal((decode("json", page) as { ok: { items: unknown[] } }).ok.items.length, 1);
  t.match(decode("json", page), { id: 1, ok: { items: [{ post: { text: "before it" } }] } });
  t.match(await metrics(broker), /^whalesong_faults_total 0$/m);
});

await tap.test("a bomb closes with 1009 before it is inflated", async (t) => {
  const broker = await startBroker(t, { compress: true });
  const client = await open(t, broker.url, "/v1/ws?user=alice", [chromium]);
  const bomb = deflated(Buffer.alloc(40_000_000, "a"));
  t.ok(bomb.length < limits.frameBytes, `${bomb.length} bytes that would be 40 MB`);
  const before = process.memoryUsage().arrayBuffers;
  client.send(0xc1, bomb);
  t.equal(await client.closeCode(), 1009);
  t.ok(process.memoryUsage().arrayBuffers - before < 10_000_000);
});

await tap.test("RSV1 from a client that agreed to nothing closes with 1002", async (t) => {
  const { url } = await startBroker(t, { compress: true });
  const client = await open(t, url, "/v1/ws?user=alice");
  client.send(0xc1, deflated(Buffer.from(`{"id":1,"op":"ping"}`)));
  t.equal(await client.closeCode(), 1002);
});

for (const codec of ["json", "msgpack"] as const) {
  await tap.test(`${codec}: the SDK asks for it, and gets all it gets without`, async (t) => {
    const broker = await startBroker(t, { compress: true });
    const bob = await connect(broker.url, { user: "bob", codec, compress: true });
    t.teardown(() => bob.close());
    const alice = await connect(broker.url, { user: "alice", device: "a", codec, compress: true });
    t.teardown(() => alice.close());
    const home = alice.stream("user:bob", { from: "earliest" });
    const texts = Array.from({ length: 200 }, (_, i) => `${i} ${text.slice(0, (i * 7) % text.length)}🐋`);
    await Promise.all(texts.map((each) => bob.post(each)));
    const seen: string[] = [];
    for await (const event of home) {
      if (event.event === "post") seen.push(event.post.text);
      if (seen.length === texts.length) break;
    }
    t.strictSame(seen, texts);
    t.ok((await compressed(broker)) > 100);
  });

  await tap.test(
    `${codec}: a compressed frame inflates to what the plain one holds, for any event`,
    async (t) => {
      const plain = new WebSocketEncoder(codec, 0);
      const counts: [number, number][] = [];
      const encoder = deflatingEncoders((before, after) => counts.push([before, after]))[codec];
      const longText = fc
        .string({ unit: "binary", maxLength: 20 })
        .chain((word) => fc.integer({ min: 0, max: 60 }).map((times) => word.repeat(times)));
      const event = fc.record({ event: fc.constant("post"), text: longText, n: fc.integer() });
      fc.assert(
        fc.property(event, fc.integer({ min: 1, max: 0x7fffffff }), (value, sub) => {
          const expected = payloadOf(plain.frame(plain.encodeBody(value), sub));
          const message = payloadOf(plain.encodeMessage(value));
          const framed = encoder.frame(encoder.encodeBody(value), sub);
          return (
            plainPayload(framed, codec).equals(expected) &&
            plainPayload(encoder.encodeMessage(value), codec).equals(message) &&
            framed.length <= plain.frame(plain.encodeBody(value), sub).length + 5
          );
        }),
      );
      t.ok(counts.length > 0, "some were compressed");
      t.ok(counts.every(([before, after]) => before >= leastDeflatedBytes && after < before));
      for (const length of [leastDeflatedBytes - 20, mostDeflatedBytes + 1])
        t.equal(
          encoder.encodeMessage({ text: "a".repeat(length) })[0]! & rsv1,
          0,
          `${length} bytes go as they are`,
        );
    },
  );
}

async function open(t: Test, url: string, path: string, headers: string[] = []): Promise<RawSocket> {
  const client = await RawSocket.open(url, path, headers);
  t.teardown(() => client.end());
  return client;
}

async function post({ url }: Broker, user: string, content: string): Promise<void> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ text: content });
  const { status } = await fetch(`${url}/v1/posts?user=${user}`, { method: "POST", headers, body });
  if (status >= 300) throw new Error(`post: ${status}`);
}

async function metrics({ url }: Broker): Promise<string> {
  return (await fetch(`${url}/metrics`)).text();
}

async function compressed(broker: Broker): Promise<number> {
  return Number(/^whalesong_compressed_messages_total (\d+)$/m.exec(await metrics(broker))![1]);
}

/** A message's payload as a client that keeps no window sees it; with the window that was agreed on. */
function inflated(payload: Buffer, codec: "json" | "msgpack"): Buffer | string {
  const bytes = inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), {
    windowBits: 13,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  return codec === "json" ? bytes.toString() : bytes;
}

function deflated(bytes: Buffer): Buffer {
  return deflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
}

function payloadOf(frame: Buffer): Buffer {
  const short = frame[1]!;
  return frame.subarray(short < 126 ? 2 : short === 126 ? 4 : 10);
}

function plainPayload(frame: Buffer, codec: "json" | "msgpack"): Buffer {
  const payload = payloadOf(frame);
  return (frame[0]! & rsv1) === 0 ? payload : Buffer.from(inflated(payload, codec));
}
