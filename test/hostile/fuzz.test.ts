/* Fuzzing whole brokers: whatever somebody sends, by WebSocket, HTTP, Server-Sent Events or in an upgrade, fails that request alone. No
 * process ends, nothing is counted as a fault, and a neighbour is answered, delivered to and has cursors written all the while.
 * WHALESONG_SEED repeats what is sent. */

import { request as httpRequest } from "node:http";

import * as fc from "fast-check";
import tap, { type Test } from "tap";
import { WebSocket } from "ws";

import {
  type CodecName,
  encode,
  errorCodes,
  isWellFormed,
  ops,
  requestFields,
  subprotocols,
} from "../../protocol/index.ts";
import { routes, streamQuery } from "../../broker/transports/routes.ts";
import { type Message, SessionClient } from "../sessions/session-client.ts";
import { Neighbour } from "./neighbour.ts";
import { eachPlace } from "./places.ts";

const seed = Number(process.env["WHALESONG_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const rounds = Number(process.env["WHALESONG_ROUNDS"] ?? 8);
/** What is sent in a round, of each kind. */
const [frames, requests, upgrades] = [60, 40, 6];

const texts = fc.constantFrom(
  ..."home mentions firehose user:fuzz tag:a live earliest resume fuzz other - . .. ... __proto__ toJSON a-1 0 -1 1e309".split(
    " ",
  ),
  "",
  "\0",
  "\ufeff",
  "\u200f",
  "a\u0000b",
  "\ud800",
  "é".repeat(64),
  "𠀀".repeat(64),
  "x".repeat(1_100),
  "x".repeat(1_975),
  "x".repeat(20_000),
  `user:${"ß".repeat(32)}`,
  `tag:${"𠀀".repeat(100)}`,
  "thread:x",
  "%2e%2e",
  "<script>",
  "' OR 1=1",
);
const hostile: unknown[] = [
  { constructor: 1, toJSON: "x" },
  { toJSON: { toJSON: 1 }, constructor: null },
  JSON.parse('{"then":"x","valueOf":1,"hasOwnProperty":1,"toString":1,"length":-1}'),
  Array(15_000).fill(1),
  Array(2_000).fill("a"),
  Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`k${i}`, i])),
  JSON.parse(`${"[".repeat(500)}${"]".repeat(500)}`),
  JSON.parse('{"__proto__":{"a":1}}'),
  2 ** 53,
  -(2 ** 63),
  1e308,
];
const value = fc.oneof(
  { weight: 6, arbitrary: texts },
  { weight: 2, arbitrary: fc.constantFrom(...hostile) },
  { weight: 2, arbitrary: fc.constantFrom<unknown>(0, -1, 1, 1.5, true, null, [], {}, 2_147_483_647) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 4 }) },
);
/** Requests that are right but for a field or two, so that most get far. */
const frame = fc.constantFrom(...ops, ...Array<"post">(8).fill("post")).chain((op) => {
  const names = Object.keys(requestFields[op]);
  const right: Record<string, unknown> = {
    text: "fuzz",
    stream: "user:fuzz",
    user: "other",
    post: "a-1",
    sub: 1,
    cursor: "a-1",
    token: "x",
  };
  const known = Object.fromEntries(names.filter((name) => name in right).map((name) => [name, right[name]]));
  const wrong =
    names.length === 0 ? fc.constant({}) : fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 2 });
  const data = op === "post" ? fc.option(fc.constantFrom(...hostile)) : fc.constant(null);
  return fc.tuple(wrong, data, fc.integer({ min: 1_000, max: 2 ** 40 })).map(([some, attached, id]) => {
    const message: Message = Object.assign({ id, op }, known, some);
    if (attached !== null) message["data"] = attached;
    // What it calls itself stays: a client that is refused is closed, and the rest of the round not read.
    if (op === "hello") message["user"] = "fuzz";
    return message;
  });
});
const part = fc.oneof(texts, fc.constantFrom("fuzz", "other", "home"));
const query = fc.dictionary(fc.constantFrom(...streamQuery, "limit", "before", "after", "user", "x"), texts, {
  maxKeys: 3,
});

function asked(path: string, fields: Record<string, unknown>): string {
  const pairs = Object.entries(fields).map(([name, text]) => `${name}=${escaped(String(text))}`);
  return `${path}?${["user=fuzz", ...pairs].join("&")}`;
}

/** Percent-encoding that half a surrogate pair passes as the bytes it would be, which are no UTF-8. */
function escaped(text: string): string {
  return isWellFormed(text) ? encodeURIComponent(text) : "%ED%A0%80";
}

const call = fc
  .tuple(
    fc.constantFrom(...routes),
    fc.array(part, { minLength: 4, maxLength: 4 }),
    query,
    fc.dictionary(fc.constantFrom("text", "data", "set", "key", "mentions", "tags", "replyTo", "as"), value, {
      maxKeys: 4,
    }),
  )
  .map(([{ method, path, body }, parts, fields, given]) => {
    let next = 0;
    const filled = path.replaceAll(/\{\w+\}/g, () => escaped(parts[next++ % parts.length]!));
    return {
      method,
      path: asked(filled, fields),
      body: body === undefined ? undefined : given,
    };
  });
const streaming = query.map((fields) => ({
  method: "GET",
  path: asked("/v1/stream", fields),
  body: undefined,
}));

await eachPlace(tap, "whatever is sent fails alone", { timeoutMs: 240_000 }, async (t, place) => {
  t.comment(`WHALESONG_SEED=${seed}`);
  const neighbour = await Neighbour.of(place);
  for (let round = 0; round < rounds; round++) {
    const sample = { seed: seed + round, numRuns: frames };
    const [first, last] = [place.urls[0]!, place.urls.at(-1)!];
    await Promise.all([
      sendFrames(t, first, { codec: "json", messages: fc.sample(frame, sample) }),
      sendFrames(t, last, {
        codec: "msgpack",
        messages: fc.sample(frame, { ...sample, seed: seed - round }),
      }),
      ...fc
        .sample(fc.oneof({ weight: 5, arbitrary: call }, streaming), { ...sample, numRuns: requests })
        .map((each) => ask(t, first, each)),
      ...fc.sample(query, { ...sample, numRuns: upgrades }).map((fields) => upgrade(t, last, fields)),
      neighbour.check(t),
    ]);
    await neighbour.check(t);
    t.same(await place.faults(), [], `round ${round}`);
  }
});

/** Sends frames, one connection after another where one is closed; settles once all are answered or closed upon. */
async function sendFrames(
  t: Test,
  url: string,
  { codec, messages }: { codec: CodecName; messages: Message[] },
): Promise<void> {
  const rest = [...messages];
  while (rest.length > 0) {
    const client = await SessionClient.open(url, { user: "fuzz", codec });
    const waiting = new Set<unknown>();
    for (const message of rest.splice(0, 20)) {
      const encoded = encode(codec, message);
      if (Buffer.byteLength(encoded) > 65_536) continue;
      client.sendRaw(encoded);
      waiting.add(message["id"]);
    }
    const isDone = (): boolean => {
      for (const answer of client.others) if (!("event" in answer)) waiting.delete(answer["id"]);
      return waiting.size === 0;
    };
    await client.until(isDone).catch(() => client.closed);
    for (const { error } of client.others as { error?: { code: string } }[])
      if (error !== undefined && !isRefusal(error.code)) t.fail(`${codec}: ${JSON.stringify(error)}`);
    client.terminate();
  }
}

function isRefusal(code: string): boolean {
  return code in errorCodes && code !== "internal";
}

/** One request; of an answer that goes on, its beginning. */
function ask(
  t: Test,
  url: string,
  { method, path, body }: { method: string; path: string; body: unknown },
): Promise<void> {
  return new Promise((resolve) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const asking = httpRequest(`${url}${path}`, { method, headers, agent: false }, (response) => {
      if (response.statusCode! >= 500) t.fail(`${method} ${path.slice(0, 300)}: ${response.statusCode}`);
      response.resume();
      response.on("error", () => {});
      response.once("close", () => resolve());
      if (response.headers["content-type"] === "text/event-stream") response.destroy();
    });
    asking.on("error", () => resolve());
    asking.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** An upgrade with these in its query, and a request behind it. */
function upgrade(t: Test, url: string, fields: Record<string, string>): Promise<void> {
  return new Promise((resolve) => {
    const socket = new WebSocket(
      `${url.replace(/^http/, "ws")}${asked("/v1/ws", fields)}`,
      subprotocols.json,
    );
    socket.on("open", () => {
      socket.send('{"id":1,"op":"subscribe","stream":"home"}');
      socket.send('{"id":2,"op":"cursor","stream":"home"}');
    });
    socket.on("message", (data: Buffer) => {
      const { id, error } = JSON.parse(data.toString()) as { id?: number; error?: { code: string } };
      if (error !== undefined && !isRefusal(error.code)) t.fail(`${JSON.stringify(fields)}: ${error.code}`);
      if (id === 2) socket.terminate();
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve());
  });
}
