/* A replay of interactions, from the file to the report, against a real broker. */

import { once } from "node:events";
import { writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { type Test, test } from "tap";
import { type RawData, WebSocket, WebSocketServer } from "ws";

import { seededRandom } from "../../clients/cli/replay/random.ts";
import { decode, subprotocols } from "../../protocol/codec.ts";
import { freePort } from "../free-port.ts";
import { startBroker } from "./broker.ts";
import { Running, whalesong } from "./whalesong.ts";

interface Counted {
  text: string;
  users: Set<string>;
  follows: Set<string>;
}

/** Interactions of few users, so that there are replies to replies, conversations, repeated reposts and whales. */
function makeInteractions(count: number, users: number, seed: number): Counted {
  const random = seededRandom(seed);
  const user = (): string => `u${Math.floor(users * random() ** 2)}`;
  const counted: Counted = { text: "", users: new Set(), follows: new Set() };
  for (let line = 0; line < count; line++) {
    const [a, b] = [user(), user()];
    const kind = ["RT", "MT", "RE"][Math.floor(random() * 3)];
    counted.text += `${a} ${b} ${1_341_100_972 + line} ${kind}\n`;
    counted.users.add(a).add(b);
    if (a !== b) counted.follows.add(`${a} ${b}`);
  }
  return counted;
}

async function start(t: Test): Promise<{ url: string; folder: string }> {
  // A quiet stream reaches the head by cursor events.
  const broker = await startBroker(t, { cursorMs: 200 });
  return { url: broker.url, folder: t.testdir({}) };
}

interface Report {
  [name: string]: unknown;
  faults: { home: Record<string, number>; mentions: Record<string, number> };
  deliveries: number;
  expectedDeliveries: number;
}

async function replay(
  url: string,
  ...args: string[]
): Promise<{ status: number | null; stderr: string; report: Report }> {
  const { status, stdout, stderr } = await whalesong(["replay", ...args, "--json"], {
    env: { WHALESONG_URL: url },
  });
  return { status, stderr, report: (stdout === "" ? {} : JSON.parse(stdout)) as Report };
}

const none = { missing: 0, repeated: 0, outOfOrder: 0, unexpected: 0 };

void test("every subscriber receives exactly what it should, and the report counts what was done", async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  t.comment(`seed ${seed}`);
  const { url, folder } = await start(t);
  const made = makeInteractions(3_000, 60, seed);
  const file = join(folder, "some.txt.gz");
  writeFileSync(file, gzipSync(made.text));
  const { status, stderr, report } = await replay(url, file, "--subscribers", "40", "--seed", "7");
  t.equal(status, 0, stderr);
  t.match(report, {
    flawless: true,
    seed: 7,
    interactions: 3_000,
    users: made.users.size,
    follows: made.follows.size,
    missingFollows: 0,
    streamsBehind: 0,
    misordered: 0,
    wrongAnswers: 0,
    faults: { home: none, mentions: none },
  });
  const published = report["published"] as Record<string, number>;
  t.equal(
    (published["posts"] ?? 0) + (published["replies"] ?? 0) + (published["reposts"] ?? 0),
    3_000 + (published["firstPosts"] ?? 0) - (published["repeatedReposts"] ?? 0),
  );
  t.ok((published["repeatedReposts"] ?? 0) > 0, "the file holds repeated reposts");
  t.equal(report.deliveries, report.expectedDeliveries);
  t.ok(report.deliveries > 3_000, "more was delivered than published");
  t.ok(
    Number(report["bytesPerPost"]) > 0 && Number(report["bytesPerFollow"]) > 0,
    "the broker tells its size",
  );
});

void test("a file is replayed into the same broker again under another prefix, and refused without", async (t) => {
  const { url, folder } = await start(t);
  const file = join(folder, "some.txt");
  writeFileSync(file, makeInteractions(300, 20, 1).text);
  t.equal((await replay(url, file, "--limit", "200")).status, 0);
  t.equal((await replay(url, file, "--prefix", "again_")).status, 0);
  const refused = await replay(url, file, "--limit", "50");
  t.match(refused, { status: 1, stderr: /whalesong: not_empty: .*--prefix/ });
});

void test("what is lost on the way is found missing, and the replay fails", async (t) => {
  const { url, folder } = await start(t);
  const file = join(folder, "some.txt");
  writeFileSync(file, makeInteractions(300, 20, 2).text);
  const proxy = await startLossyProxy(t, url, { dropped: 100 });
  const { status, report } = await replay(proxy, file, "--subscribers", "10");
  t.equal(status, 1);
  t.match(report, { flawless: false });
  t.equal(report.faults.home["missing"]! + report.faults.mentions["missing"]!, 1);
  t.equal(report.deliveries, report.expectedDeliveries - 1);
});

void test("a broker killed in the middle and started again at another address costs no delivery", async (t) => {
  const folder = t.testdir({ data: {} });
  const file = join(folder, "some.txt");
  writeFileSync(file, makeInteractions(400, 30, 3).text);
  const ports = [await freePort(), await freePort()] as const;
  const serve = async (port: number): Promise<Running> => {
    const flags = ["--port", String(port), "--data", join(folder, "data"), "--cursor-every", "200ms"];
    const broker = new Running(["serve", ...flags, "--log-level", "silent"]);
    t.teardown(() => broker.process.kill("SIGKILL"));
    await broker.says(/listens on/);
    return broker;
  };
  const first = await serve(ports[0]);
  // A line each second, at 100 times real time: four seconds of publishing, killed as it begins.
  const args = ["replay", file, "--subscribers", "20", "--speed", "100", "--json"];
  const replaying = new Running(args, {
    WHALESONG_URL: ports.map((port) => `ws://127.0.0.1:${port}`).join(),
  });
  await replaying.says(/publishing/, "stderr");
  first.process.kill("SIGKILL");
  await first.ended;
  const second = await serve(ports[1]);
  const { status, stdout, stderr } = await replaying.ended;
  second.process.kill("SIGTERM");
  await second.ended;
  t.equal(status, 0, stderr);
  const report = JSON.parse(stdout) as Report;
  t.match(report, { flawless: true, faults: { home: none, mentions: none } });
  t.ok(Number(report["reconnects"]) >= 20, "every subscriber lost its connection");
});

void test("Ctrl-C ends a replay with status 130 and no report", async (t) => {
  const { url, folder } = await start(t);
  const file = join(folder, "some.txt");
  writeFileSync(file, makeInteractions(10_000, 30, 4).text);
  const replaying = new Running(["replay", file, "--speed", "1"], { WHALESONG_URL: url });
  await replaying.says(/publishing/, "stderr");
  replaying.process.kill("SIGINT");
  const { status, stdout, stderr } = await replaying.ended;
  t.equal(status, 130);
  t.equal(stdout, "");
  t.notMatch(stderr, /whalesong:|Error/);
});

void test("a token without the scope backend is refused, and ends the replay", async (t) => {
  const secret = "a secret of thirty-two characters";
  const broker = await startBroker(t, { authSecret: secret, cursorMs: 200 });
  const file = join(t.testdir({ "some.txt": makeInteractions(100, 20, 5).text }), "some.txt");
  const token = async (scope: string): Promise<string> =>
    (await whalesong(["token", "--sub", "app", "--secret", secret, "--scope", scope])).stdout.trim();
  const refused = await replay(broker.url, file, "--token", await token("read write"));
  t.match(refused, { status: 1, stderr: /^whalesong: forbidden: /m });
  const accepted = await replay(broker.url, file, "--token", await token("read write backend"));
  t.match(accepted, { status: 0, report: { flawless: true, faults: { home: none } } });
});

void test("a line that is none is refused before anything is sent", async (t) => {
  const folder = t.testdir({ "bad.txt": "1 2 3 RT\nnonsense\n", "empty.txt": "\n" });
  const bad = await replay("ws://127.0.0.1:1", join(folder, "bad.txt"));
  t.match(bad, { status: 1, stderr: /^whalesong: bad_file: line 2: "nonsense"/ });
  const empty = await replay("ws://127.0.0.1:1", join(folder, "empty.txt"));
  t.match(empty, { status: 1, stderr: /^whalesong: bad_file: .*no interaction/ });
});

/** A WebSocket proxy to `url` that keeps the `dropped`th post or repost event from its reader. */
async function startLossyProxy(t: Test, url: string, { dropped }: { dropped: number }): Promise<string> {
  let events = 0;
  const protocols = new Set<string>([subprotocols.msgpack]);
  const server = new WebSocketServer({
    port: 0,
    host: "127.0.0.1",
    handleProtocols: () => subprotocols.msgpack,
  });
  server.on("connection", (client, request) => {
    const upstream = new WebSocket(new URL(request.url ?? "/", url), [...protocols]);
    const early: RawData[] = [];
    client.on("message", (frame) =>
      upstream.readyState === upstream.OPEN ? upstream.send(frame) : early.push(frame),
    );
    upstream.on("open", () => {
      for (const frame of early) upstream.send(frame);
    });
    upstream.on("message", (frame: Buffer) => {
      const { event } = decode("msgpack", frame) as { event?: string };
      if ((event === "post" || event === "repost") && ++events === dropped) return;
      client.send(frame);
    });
    upstream.on("close", () => client.terminate());
    client.on("close", () => upstream.terminate());
  });
  await once(server, "listening");
  t.teardown(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
