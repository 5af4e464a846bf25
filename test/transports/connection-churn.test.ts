/* Clients that come and go leave nothing behind, however they go and however many there were.
 *
 * What is asked is whether an object is alive after a full garbage collection, not how many bytes the process has: one
 * session kept by anything at all is one too many. A session is reached from its connection, its socket, its subscriptions
 * and its timer, so none of these can be kept without it. Sockets and clients' ends live in this process too: sockets are
 * counted with both ends. */

import { ServerResponse } from "node:http";
import { Socket } from "node:net";
import * as v8 from "node:v8";
import tap, { type Test } from "tap";

import { Outbox } from "../../broker/sessions/outbox.ts";
import { Session } from "../../broker/sessions/session.ts";
import { Subscription } from "../../broker/streams/index.ts";
import { limits } from "../../protocol/index.ts";
import { SessionBroker } from "../sessions/session-broker.ts";
import { SessionClient } from "../sessions/session-client.ts";
import { EventReader } from "./event-reader.ts";
import { call, startServer } from "./server.ts";

const rounds = 3;
const clientsInRound = 80;
/** Of `/v1/stream`. */
const readers = 20;
/** Looks, a turn of the event loop apart: a handle that is closed is let go of some turns later. */
const mostLooks = 20;

type Class = new (...of: never[]) => object;

/** How a client goes. The broker ends the last three: with a ping, or for what was sent. */
const ways = [
  "close frame",
  "connection cut",
  "reset",
  "end without a close frame",
  "cut with requests in flight",
  "cut before hello",
  "half-open",
  "hello refused",
  "frames that are none",
] as const;
type Way = (typeof ways)[number];

await tap.test("WebSocket clients that come and go leave no object behind", async (t) => {
  const broker = await SessionBroker.for(t, { expiresAt: Date.now() + 86_400_000 });
  const users = Array.from({ length: 20 }, (_, i) => `u${i}`);
  const { thread } = await prepare(broker, users);
  const sockets = count(Socket);
  let interestBytes: number | undefined;

  for (let round = 1; round <= rounds; round++) {
    const halfOpen: SessionClient[] = [];
    await Promise.all(
      Array.from({ length: clientsInRound }, async (_, i) => {
        const client = await visit(broker, { user: users[i % users.length]!, thread, way: wayOf(i) });
        if (wayOf(i) === "half-open") halfOpen.push(client);
        else await client.closed;
      }),
    );
    while (broker.sessions.count > halfOpen.length) await turn();
    t.equal(broker.sessions.count, halfOpen.length, `round ${round}: who says nothing is still there`);
    await broker.ping();
    await broker.ping(); // nobody has answered the first
    while (broker.sessions.count > 0) await turn();
    for (const client of halfOpen) client.terminate();
    await Promise.all(halfOpen.splice(0).map((client) => client.closed)); // nor is one kept here
    await broker.cursors.flush();
    await broker.streams.settled();
    await broker.streams.tick(); // topics without readers are given back

    const { subscriptions, catchingUp, interestBytes: bytes } = broker.streams.stats;
    t.same({ subscriptions, catchingUp }, { subscriptions: 0, catchingUp: 0 });
    t.equal(bytes, interestBytes ?? bytes, "the interest graph is as large as after the round before");
    interestBytes = bytes;
  }
  await leftBehind(t, { Session, Subscription, Outbox });
  t.ok(await settles(() => count(Socket) <= sockets), "no socket, at either end");
  t.same(broker.faults, []);
});

await tap.test("readers of /v1/stream that come and go leave no object behind", async (t) => {
  const { url, streams, sessions } = await startServer(t);
  // Each has a post of its own to read: what is kept of an entry must not keep who read it last.
  for (let i = 0; i < readers; i++) {
    const reader = await EventReader.open(`${url}/v1/stream?stream=home&user=alice&from=live`);
    await reader.expect("live");
    await call(url, "POST /v1/posts?user=alice", { body: { text: `post ${i}` } });
    await reader.expect("post");
    reader.close();
  }
  while (sessions.count > 0) await turn();
  await streams.settled();
  t.equal(streams.stats.subscriptions, 0);
  await leftBehind(t, { Session, Subscription, Outbox, ServerResponse });
});

/** Users who follow each other, and a thread. */
async function prepare(broker: SessionBroker, users: string[]): Promise<{ thread: string }> {
  for (const user of users) {
    const client = await broker.connect(user);
    await client.request("post", { text: "hello" });
    await client.close();
  }
  for (const [i, user] of users.entries()) {
    const client = await broker.connect(user);
    for (let next = 1; next <= 5; next++)
      await client.request("follow", { user: users[(i + next) % users.length]! });
    await client.close();
  }
  const client = await broker.connect(users[0]!);
  const { id } = await client.request("post", { text: "a thread" });
  await client.close();
  return { thread: `thread:${String(id)}` };
}

function wayOf(number: number): Way {
  return ways[number % ways.length]!;
}

/** Comes, reads and writes a little, and goes or makes the broker end it. */
async function visit(
  broker: SessionBroker,
  { user, thread, way }: { user: string; thread: string; way: Way },
): Promise<SessionClient> {
  if (way === "cut before hello" || way === "hello refused" || way === "frames that are none") {
    const client = await SessionClient.open(broker.url);
    await leave(client, way);
    return client;
  }
  const client = await broker.connect(user, { codec: user.length % 2 === 0 ? "json" : "msgpack" });
  await client.subscribeLive("home", { from: "live" });
  for (const stream of ["home", "mentions", "tag:node", "user:u0", thread]) await client.subscribe(stream);
  await client.request("post", { text: "hello @u1 #node" });
  await client.unsubscribe(await client.subscribe("user:u1"));
  await leave(client, way);
  return client;
}

async function leave(client: SessionClient, way: Way): Promise<void> {
  const { _socket: socket } = client.socket as unknown as { _socket: Socket };
  switch (way) {
    case "close frame":
      client.socket.close(1000);
      break;
    case "connection cut":
    case "cut before hello":
      client.terminate();
      break;
    case "reset":
      socket.resetAndDestroy();
      break;
    case "end without a close frame":
      socket.end();
      break;
    case "cut with requests in flight":
      for (let id = 1_000; id < 1_005; id++)
        client.send({ id, op: "subscribe", stream: "firehose", from: "earliest" });
      client.send({ id: 1_005, op: "auth", token: "none" });
      await turn();
      client.terminate();
      break;
    case "half-open":
      socket.pause();
      break;
    case "hello refused":
      client.send({ id: 1, op: "hello" });
      break;
    case "frames that are none":
      for (let i = 0; i < limits.badFrames; i++) client.sendRaw("{");
      break;
  }
}

/** Asserts that nothing of these classes is alive. */
async function leftBehind(t: Test, classes: Record<string, Class>): Promise<void> {
  for (const [name, each] of Object.entries(classes)) {
    t.ok(await settles(() => count(each) === 0), `no ${name}`);
  }
}

/** How many are alive after a full garbage collection. */
function count(of: Class): number {
  return v8.queryObjects(of, { format: "count" });
}

/** Whether it becomes so within some turns of the event loop. */
async function settles(isSo: () => boolean): Promise<boolean> {
  for (let look = 1; look <= mostLooks; look++) {
    if (isSo()) return true;
    await turn();
  }
  return false;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
