/* Whatever JSON value a post carries as `data` comes back as it was sent: by either codec, by HTTP and by Server-Sent Events, pushed and
 * looked up, whatever processes it passes on its way. WHALESONG_SEED repeats the values. */

import { isDeepStrictEqual } from "node:util";

import * as fc from "fast-check";
import tap from "tap";

import { SessionClient, type Inbox, type Message } from "../sessions/session-client.ts";
import { EventReader } from "../transports/event-reader.ts";
import { type Place, eachPlace } from "./places.ts";

const seed = Number(process.env["WHALESONG_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
/** Values tried in each place. */
const runs = Number(process.env["WHALESONG_ROUNDS"] ?? 40);

/** Names that mean something to JavaScript, to msgpackr or to a store, and are names like any other here. */
const names = [
  ..."constructor toJSON toString valueOf hasOwnProperty then length prototype size write type".split(" "),
  ..."__defineGetter__ isPrototypeOf 0 1 10 -1 1e3 NaN null undefined buffer structures op at user".split(
    " ",
  ),
  "",
  " ",
  "\0",
  "é",
  "e\u0301",
  "\ufeff",
  "🐋",
  "a.b",
  "x".repeat(300),
];
const numbers = [
  0,
  1,
  -1,
  31,
  32,
  127,
  128,
  255,
  256,
  65_535,
  65_536,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  2 ** 63,
  2 ** 64,
];
const scalar = fc.oneof(
  fc.constantFrom(...names),
  fc.string({ unit: "grapheme", maxLength: 80 }),
  fc.constantFrom(
    ...numbers,
    ...numbers.map((number) => -number),
    0.1,
    1e21,
    1e-7,
    5e-324,
    1.7976931348623157e308,
  ),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(true, false, null),
);
const key = fc.oneof(
  fc.constantFrom(...names),
  fc.string({ unit: "grapheme", maxLength: 20 }).filter((name) => name !== "__proto__"),
);
const json = fc
  .letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      scalar,
      fc.array(tie("value"), { maxLength: 8 }),
      fc.dictionary(key, tie("value"), { noNullPrototype: true, maxKeys: 8 }),
    ),
  }))
  .value.map(asJson)
  .filter((value) => Buffer.byteLength(JSON.stringify(value)) < 16_000);

/** As JSON has it: there is no -0. */
function asJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}

/** Each would end the broker, or come back as another, where one process, codec or table took it for more than a value. */
const nasty: unknown[] = [
  { constructor: 1, toJSON: "x" },
  { constructor: null, toJSON: { a: 1 } },
  { constructor: { name: "Map" }, size: 2, forEach: 1 },
  [{ constructor: "Array", length: 3 }, { toJSON: true }],
  Object.fromEntries(names.map((name) => [name, name])),
  { valueOf: 1, toString: 2, hasOwnProperty: 3 },
  { write: 1, type: 0x72, buffer: [] },
  Object.fromEntries(Array.from({ length: 1_100 }, (_, i) => [`k${i}`, i])),
  Object.fromEntries([..."zyx019"].map((name) => [name, name])),
  { ["k".repeat(15_000)]: 1 },
  Array.from({ length: 8_000 }, () => 1),
  nestedIn(31),
  "x".repeat(16_000),
  "é".repeat(8_000),
  "\ufeffmark",
];

function nestedIn(levels: number): unknown {
  let value: unknown = "core";
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { toJSON: value };
  return value;
}

interface Way {
  name: string;
  publish: (data: unknown) => Promise<string>;
}

interface Look {
  name: string;
  /** The data of the post, as it shows there. */
  data: (id: string) => Promise<unknown>;
}

await eachPlace(tap, "any data comes back as it was sent", { timeoutMs: 180_000 }, async (t, place) => {
  t.comment(`WHALESONG_SEED=${seed}`);
  const ways = await waysInto(place);
  const looks = await looksAt(place);
  let turn = 0;
  const check = async (data: unknown): Promise<void> => {
    const way = ways[turn++ % ways.length]!;
    const id = await way.publish(data);
    for (const { name, data: seen } of looks) {
      const found = await seen(id);
      if (!isDeepStrictEqual(found, data))
        throw new Error(`${way.name}, ${name}: ${JSON.stringify(found)?.slice(0, 2_000)}`);
    }
  };
  for (const data of nasty) for (const _ of ways) await check(data);
  await fc.assert(fc.asyncProperty(json, check), { seed, numRuns: runs });
  t.same(await place.faults(), []);
});

async function waysInto(place: Place): Promise<Way[]> {
  const url = place.urls[0]!;
  const sessions = await Promise.all(
    (["json", "msgpack"] as const).map(async (codec) => {
      const client = await SessionClient.open(url, { user: "alice", codec });
      const publish = async (data: unknown): Promise<string> =>
        (await client.request("post", { text: "", data }))["id"] as string;
      return { name: `sent as ${codec}`, publish };
    }),
  );
  const publish = async (data: unknown): Promise<string> => {
    const answer = await fetch(`${url}/v1/posts?user=alice`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: "", data }),
    });
    const { id, error } = (await answer.json()) as { id?: string; error?: unknown };
    if (id === undefined) throw new Error(JSON.stringify(error));
    return id;
  };
  return [...sessions, { name: "sent by HTTP", publish }];
}

async function looksAt(place: Place): Promise<Look[]> {
  const url = place.urls.at(-1)!;
  const looks: Look[] = [];
  for (const codec of ["json", "msgpack"] as const) {
    const client = await SessionClient.open(url, { user: "bob", codec });
    const inbox = await client.subscribeLive("user:alice", { from: "live" });
    looks.push({ name: `pushed as ${codec}`, data: async (id) => await pushed(client, inbox, id) });
    const get = async (id: string): Promise<unknown> => dataOf(await client.request("get", { post: id }));
    looks.push({ name: `got as ${codec}`, data: get });
    const read = async (id: string): Promise<unknown> => {
      const { items } = await client.request("read", { stream: "user:alice", limit: 1 });
      const [item] = items as Message[];
      return dataOf(item!, id);
    };
    looks.push({ name: `read as ${codec}`, data: read });
  }
  const events = await EventReader.open(`${url}/v1/stream?stream=user:alice&user=bob`);
  await events.expect("live");
  looks.push({
    name: "pushed as Server-Sent Event",
    data: async (id) => {
      const [event] = await events.expect("post");
      return dataOf(event!.data!, id);
    },
  });
  looks.push({
    name: "got by HTTP",
    data: async (id) => dataOf((await (await fetch(`${url}/v1/posts/${id}?user=bob`)).json()) as Message),
  });
  return looks;
}

/** The data of the post that an inbox receives next. */
async function pushed(client: SessionClient, inbox: Inbox, id: string): Promise<unknown> {
  const isIt = (event: Message): boolean => (event["post"] as Message | undefined)?.["id"] === id;
  await client.until(() => inbox.events.some(isIt));
  const event = inbox.events.find(isIt)!;
  inbox.events.length = 0;
  return dataOf(event);
}

function dataOf(holder: Message, id?: string): unknown {
  const post = holder["post"] as Message;
  if (id !== undefined && post["id"] !== id) throw new Error(`the post is ${String(post["id"])}, not ${id}`);
  return post["data"];
}
