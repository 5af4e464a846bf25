/* What names a cursor: a device and a stream, checked alike by whichever way they come, and never so long that they cannot be kept. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { WebSocket } from "ws";
import tap, { type Test } from "tap";

import { type CodecName, limits, subprotocols } from "../../protocol/index.ts";
import { call, dataFolder, startBroker } from "../transports/server.ts";
import { SessionClient } from "./session-client.ts";
import { nodeArgs } from "../program.ts";

/** What no device may be called, and what the refusal says of it. */
const refused: [name: string, device: string, says: RegExp][] = [
  ["one character too many", "d".repeat(limits.deviceChars + 1), /device: .*64 characters/],
  ["one character of four bytes too many", "😀".repeat(limits.deviceChars + 1), /device: .*64 characters/],
  ["more bytes than LMDB takes in a key", "d".repeat(1_975), /device: .*64 characters/],
  ["more bytes than nodes tell each other", "d".repeat(1_100), /device: .*64 characters/],
  ["marks without end on one letter", `e${"\u0301".repeat(1_200)}`, /device: .*64 characters/],
  ["the character that parts a cursor's names", "a\u0000home", /device: .*U\+0000/],
];
const longestDevice = "😀".repeat(limits.deviceChars);
const longestTag = `tag:${"\u{20000}".repeat(limits.tagChars)}`;

/** The status that an upgrade is answered with: 101 when it is taken. */
function upgrade(t: Test, url: string, query: string, codec: CodecName = "json"): Promise<[number, string]> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/ws?${query}`, subprotocols[codec]);
  t.teardown(() => socket.terminate());
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("open", () => resolve([101, ""]));
    socket.once("unexpected-response", (_, response) => {
      let text = "";
      response.on("data", (bytes: Buffer) => (text += bytes.toString()));
      response.on("end", () => resolve([response.statusCode!, text]));
    });
  });
}

await tap.test("a device is checked alike by whichever way it comes", async (t) => {
  const { url } = await startBroker(t);
  await call(url, "POST /v1/posts?user=ann", { body: { text: "hello" } });
  for (const [name, device, says] of refused) {
    const encoded = encodeURIComponent(device);
    for (const codec of ["json", "msgpack"] as const) {
      const [status, text] = await upgrade(t, url, `user=ann&device=${encoded}`, codec);
      t.equal(status, 400, `${name}: the upgrade (${codec})`);
      t.match(text, says);
      const client = await SessionClient.open(url, { codec });
      await t.rejects(
        client.request("hello", { user: "ann", device }),
        { code: "bad_request", details: { field: "device" }, message: says },
        `${name}: hello (${codec})`,
      );
      await client.request("hello", { user: "ann" });
      for (const set of [{}, { set: "live" }])
        await t.rejects(
          client.request("cursor", { stream: "home", device, ...set }),
          { code: "bad_request", details: { field: "device" }, message: says },
          `${name}: cursor (${codec})`,
        );
      await client.close();
    }
    for (const [request, body] of [
      [`GET /v1/stream?stream=home&user=ann&device=${encoded}`],
      [`GET /v1/users/ann/cursors/home?user=ann&device=${encoded}`],
      [`PUT /v1/users/ann/cursors/home?user=ann&device=${encoded}`, { set: "live" }],
    ] as const) {
      const answer = await call(url, request, body === undefined ? {} : { body });
      t.equal(answer.status, 400, `${name}: ${request.slice(0, 40)}`);
      t.match(answer.text, /bad_request/);
    }
  }
});

await tap.test("an upgrade whose device is empty names none", async (t) => {
  const { url } = await startBroker(t);
  t.same(await upgrade(t, url, "user=ann&device="), [101, ""]);
});

await tap.test(
  "the longest names there may be are kept, and the acknowledgements of others beside them",
  async (t) => {
    const { url } = await startBroker(t);
    const other = await SessionClient.open(url, { user: "bob", device: "phone" });
    const post = (await other.request("post", { text: "hello", tags: [longestTag.slice(4)] }))["cursor"];
    const client = await SessionClient.open(url, { user: "ann", device: longestDevice });
    const { sub } = await client.subscribe(longestTag, { from: "earliest" });
    const home = await other.subscribe("home", { from: "earliest" });
    await Promise.all([
      client.request("ack", { sub, cursor: post }),
      other.request("ack", { sub: home.sub, cursor: post }),
    ]);
    t.match(await client.request("cursor", { stream: longestTag }), { device: longestDevice, cursor: post });
    const again = await SessionClient.open(url, { user: "ann", device: longestDevice });
    t.equal((await again.subscribe(longestTag)).start, post);
    for (const one of [client, again, other]) await one.close();
  },
);

await tap.test("a stream's name is bounded in every operation that takes one", async (t) => {
  const { url } = await startBroker(t);
  const client = await SessionClient.open(url, { user: "ann" });
  for (const stream of [
    `tag:${"a".repeat(1_000)}`,
    `tag:${"\u{20000}".repeat(limits.tagChars + 1)}`,
    `tag:${"e".concat("\u0301".repeat(150))}`,
    `user:${"a".repeat(limits.handleChars + 1)}`,
    `thread:${"a".repeat(1_000)}`,
    `thread:${"a".repeat(200)}`,
  ]) {
    for (const [op, fields] of [
      ["subscribe", {}],
      ["read", {}],
      ["cursor", {}],
      ["cursor", { set: "live" }],
    ] as const)
      await t.rejects(client.request(op, { stream, ...fields }), {
        code: /bad_request|not_found/,
        details: { field: "stream" },
      });
  }
  await client.close();
});

await tap.test(
  "two sessions that resume from one cursor at once are warned of, in the log, once in a while",
  async (t) => {
    const data = await dataFolder(t);
    const { PATH = "", HOME = "" } = process.env;
    const child = spawn(
      process.execPath,
      [...nodeArgs("broker/main"), "serve", "--port", "0", "--data", data.path, "--workers", "0"],
      { stdio: ["ignore", "ignore", "pipe"], env: { PATH, HOME } },
    );
    const ended = once(child, "exit");
    data.stopBy(async () => {
      child.kill();
      await ended;
    });
    const lines: Record<string, unknown>[] = [];
    const told = createInterface({ input: child.stderr });
    const said = async (
      isIt: (line: Record<string, unknown>) => boolean,
    ): Promise<Record<string, unknown>> => {
      for (;;) {
        const found = lines.find(isIt);
        if (found !== undefined) return found;
        const isOver = await Promise.race([once(told, "line").then(() => false), ended.then(() => true)]);
        if (isOver) throw new Error("the broker ended before it said so");
      }
    };
    told.on("line", (line) => {
      if (line.startsWith("{")) lines.push(JSON.parse(line) as Record<string, unknown>);
    });
    const { url } = (await said(({ url: at }) => typeof at === "string")) as { url: string };
    const open = (user: string, device: string): Promise<SessionClient> =>
      SessionClient.open(url, { user, device });
    const first = await open("ann", "phone");
    await first.subscribe("home");
    await first.subscribe("home", { filter: { replies: "none" } });
    for (const [user, device, stream] of [
      ["ann", "tv", "home"],
      ["bob", "phone", "home"],
      ["ann", "phone", "mentions"],
    ] as const)
      await (await open(user, device)).subscribe(stream);
    const live = await open("ann", "phone");
    await live.subscribe("home", { from: "live" });
    t.same(lines.filter(isWarning), [], "another device, user or stream, another filter, another start");
    for (let i = 0; i < 5; i++) await (await open("ann", "phone")).subscribe("home");
    t.match(await said(isWarning), { reader: "ann", device: "phone", stream: "home", sessions: 2 });
    const last = await open("cat", "phone");
    await last.subscribe("home");
    await last.close();
    await (await open("cat", "phone")).subscribe("home");
    await (await open("dan", "phone")).subscribe("home");
    await (await open("dan", "phone")).subscribe("home");
    await said((line) => isWarning(line) && line["reader"] === "dan");
    t.same(
      lines.filter(isWarning).map(({ reader }) => reader),
      ["ann", "dan"],
      "one line for each cursor, and none for one that had ended",
    );
  },
);

function isWarning({ level, device }: Record<string, unknown>): boolean {
  return level === 40 && device !== undefined;
}
