/* Who is closed for saying or taking nothing, and who is not: nobody for the time in which the broker itself stood still. */

import { once } from "node:events";
import tap from "tap";
import { Worker } from "node:worker_threads";

import type { Connection } from "../../broker/sessions/index.ts";
import { encoders } from "../../broker/transports/websocket-frames.ts";
import { closeCodes } from "../../protocol/index.ts";
import { SessionBroker, pingMs } from "./session-broker.ts";
import { SessionClient, offsetOf } from "./session-client.ts";

const secondMs = 1_000;
const timeoutMs = 60_000;
const large = "x".repeat(16_000);

/** A connection on which nothing is ever heard. */
const unheard: Connection = {
  encoder: encoders.json,
  bufferedBytes: 0,
  write: () => {},
  setReading: () => {},
  isMidMessage: false,
  close: () => {},
};

/** Says hello, then answers a ping, and says by `answered` that it has. */
const answeringClient = `
  const { workerData: { url, answered }, parentPort } = require("node:worker_threads");
  const { hostname, port } = new URL(url);
  const socket = require("node:net").connect(Number(port), hostname);
  socket.write([
    "GET /v1/ws?user=alice HTTP/1.1", "Host: " + hostname + ":" + port, "Connection: Upgrade", "Upgrade: websocket",
    "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", "",
  ].join("\\r\\n"));
  socket.on("data", (bytes) => {
    if (bytes.includes("101 Switching")) parentPort.postMessage("connected");
    if (!bytes.subarray(-2).equals(Buffer.from([0x89, 0x00]))) return;
    socket.write(Buffer.from([0x8a, 0x80, 0, 0, 0, 0]), () => {
      Atomics.store(answered, 0, 1);
      Atomics.notify(answered, 0);
    });
  });
`;

await tap.test("who says no hello is closed in time, and a broker that stood still waits anew", async (t) => {
  const clock = { now: 1_790_000_000_000 };
  const broker = await SessionBroker.for(t, { now: () => clock.now, helloTimeoutMs: timeoutMs });
  const silent = await SessionClient.open(broker.url);
  while (broker.sessions.count === 0) await turn();

  clock.now += 10 * timeoutMs; // this process was stopped meanwhile
  await broker.sessions.check();
  t.equal(broker.sessions.count, 1, "its hello may be there and not be read yet");

  await runFor(clock, broker, timeoutMs);
  t.equal(broker.sessions.count, 1);
  await runFor(clock, broker, secondMs);
  t.equal(broker.sessions.count, 0, "from then on it had its time");
  t.equal((await silent.closed).code, closeCodes.hello_timeout);
});

await tap.test("who takes nothing is closed in time, and a broker that stood still waits anew", async (t) => {
  const clock = { now: 1_790_000_000_000 };
  const broker = await SessionBroker.for(t, { now: () => clock.now, noProgressMs: timeoutMs });
  const bob = await broker.connect("bob");
  const stuck = await broker.connect("stuck");
  await stuck.subscribeLive("user:bob");
  stuck.socket.pause();
  await fill(broker, bob);
  await runFor(clock, broker, secondMs);

  clock.now += 10 * timeoutMs;
  await broker.sessions.check();
  t.equal(broker.sessions.count, 2, "what it took meanwhile could not be seen");

  await runFor(clock, broker, timeoutMs);
  t.equal(broker.sessions.count, 2);
  await runFor(clock, broker, secondMs);
  t.equal(broker.sessions.count, 1, "from then on it had its time");
  t.notOk(bob.isClosed);
  stuck.socket.resume();
  t.equal((await stuck.closed).code, closeCodes.no_progress);
});

await tap.test(
  "an answer to a ping that came while the broker stood still is read before it is judged",
  async (t) => {
    const broker = await SessionBroker.for(t);
    // In a thread of its own: it answers while this one stands still.
    const answered = new Int32Array(new SharedArrayBuffer(4));
    const client = new Worker(answeringClient, { eval: true, workerData: { url: broker.url, answered } });
    t.teardown(() => client.terminate());
    await once(client, "message");
    await broker.ping();
    Atomics.wait(answered, 0, 0); // the answer is with the kernel, and this thread has read nothing since
    Atomics.store(answered, 0, 0);
    await broker.ping();
    while (Atomics.load(answered, 0) === 0 && broker.sessions.count > 0) await turn();
    t.equal(broker.sessions.count, 1);
  },
);

await tap.test("who takes what waited needs no answer to a ping, who does nothing does", async (t) => {
  const broker = await SessionBroker.for(t);
  const bob = await broker.connect("bob");
  const mute = await broker.connect("mute", { isMute: true });
  const inbox = await mute.subscribeLive("user:bob");
  await broker.ping();
  await bob.request("ping"); // so bob has answered

  mute.socket.pause();
  const last = await fill(broker, bob);
  mute.socket.resume();
  await mute.until(() => inbox.events.some(({ cursor }) => offsetOf(cursor) >= last));
  while (broker.bufferedBytes > 0) await turn();
  await broker.ping();
  await bob.request("ping");
  await turn();
  t.equal(broker.sessions.count, 2, "it has read since: it is there");

  await broker.ping();
  await bob.request("ping");
  while (broker.sessions.count > 1) await turn();
  t.notOk(bob.isClosed);
  mute.terminate();
  await mute.closed;
});

/** Publishes until a reader's connection takes no more; returns the last post's offset. */
async function fill(broker: SessionBroker, author: SessionClient): Promise<number> {
  for (;;) {
    const posts = await Promise.all(
      Array.from({ length: 100 }, () => author.request("post", { text: large })),
    );
    await broker.streams.settled();
    await turn();
    if (broker.bufferedBytes > 0) return offsetOf(posts.at(-1)!["cursor"]);
  }
}

await tap.test("each is pinged in its own time, from when it came", async (t) => {
  const broker = await SessionBroker.for(t);
  const pings: string[] = [];
  const come = async (user: string): Promise<SessionClient> => {
    const client = await broker.connect(user);
    client.socket.on("ping", () => pings.push(user));
    return client;
  };
  const first = await come("first");
  t.equal(await broker.pingAfter(pingMs / 3), false);
  const second = await come("second");
  const seen = async (): Promise<string[]> => {
    // A ping that was sent is here before the answer to what is asked behind it.
    await Promise.all([first, second].map((client) => client.request("ping")));
    return pings.splice(0);
  };
  for (let round = 0; round < 3; round++) {
    await broker.pingAfter(pingMs / 3);
    t.same(await seen(), []);
    await broker.pingAfter(pingMs / 3);
    t.same(await seen(), ["first"]);
    await broker.pingAfter(pingMs / 3);
    t.same(await seen(), ["second"]);
  }
});

await tap.test("many are pinged in several turns of the event loop", async (t) => {
  const broker = await SessionBroker.for(t, { helloTimeoutMs: timeoutMs });
  const clients = await Promise.all(Array.from({ length: 100 }, (_, i) => broker.connect(`u${i}`)));
  let pings = 0;
  for (const client of clients) client.socket.on("ping", () => pings++);
  // A clock that goes by as it is looked at: each look is a slice later.
  let ms = performance.now();
  performance.now = () => (ms += 5);
  let turns = 1;
  for (let isMore = await broker.pingAfter(pingMs); isMore; turns++) isMore = await broker.pingAfter(0);
  Reflect.deleteProperty(performance, "now"); // the real one shows again
  await Promise.all(clients.map((client) => client.request("ping")));
  t.equal(pings, 100, "each once");
  t.ok(turns > 3, `${turns} turns`);
});

await tap.test("thousands are checked in several turns of the event loop", async (t) => {
  const clock = { now: 1_790_000_000_000 };
  const broker = await SessionBroker.for(t, { now: () => clock.now, helloTimeoutMs: secondMs });
  for (let i = 0; i < 2_500; i++) broker.sessions.open(unheard);
  await runFor(clock, broker, secondMs);
  clock.now += secondMs;
  const checked = broker.sessions.check();
  t.equal(broker.sessions.count, 1_500, "a thousand in the first");
  await checked;
  t.equal(broker.sessions.count, 0);
});

/** Looks as often as a broker does, for so long. */
async function runFor(clock: { now: number }, broker: SessionBroker, ms: number): Promise<void> {
  for (let past = 0; past < ms; past += secondMs) {
    clock.now += secondMs;
    await broker.sessions.check();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
