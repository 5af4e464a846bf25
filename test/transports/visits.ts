/* Visits: clients that come, read and write a little, and go in all the ways there are. */

import type { Socket } from "node:net";

import { limits } from "../../protocol/index.ts";
import { SessionClient, type SessionClientOptions } from "../sessions/session-client.ts";
import { tokenFor } from "./server.ts";

/** A broker to visit. */
export interface Place {
  readonly url: string;
  connect(user: string, options?: Omit<SessionClientOptions, "user">): Promise<SessionClient>;
}

export interface Visit {
  user: string;
  /** A thread's stream. */
  thread: string;
  way: Way;
  /** With a token, which is renewed once. @default false */
  hasToken?: boolean;
}

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
export type Way = (typeof ways)[number];

/** Long enough to be compressed, both ways. */
const text = `hello @u1 #node ${"what is said again is said shorter. ".repeat(60)}`;

export function wayOf(number: number): Way {
  return ways[number % ways.length]!;
}

/** Makes users who follow each other, and a thread; returns its stream. */
export async function prepare(place: Place, users: string[], hasToken = false): Promise<string> {
  for (const user of users) {
    const client = await enter(place, user, { hasToken });
    await client.request("post", { text: "hello" });
    await client.close();
  }
  for (const [i, user] of users.entries()) {
    const client = await enter(place, user, { hasToken });
    for (let next = 1; next <= 5; next++)
      await client.request("follow", { user: users[(i + next) % users.length]! });
    await client.close();
  }
  const client = await enter(place, users[0]!, { hasToken });
  const { id } = await client.request("post", { text: "a thread" });
  await client.close();
  return `thread:${String(id)}`;
}

/** Comes, reads and writes a little, and goes or makes the broker end it. */
export async function visit(
  place: Place,
  { user, thread, way, hasToken = false }: Visit,
): Promise<SessionClient> {
  if (way === "cut before hello" || way === "hello refused" || way === "frames that are none") {
    const client = await SessionClient.open(place.url);
    await leave(client, way);
    return client;
  }
  const client = await enter(place, user, { hasToken, codec: user.length % 2 === 0 ? "json" : "msgpack" });
  await client.subscribeLive("home", { from: "live", filter: { replies: "all" } });
  for (const stream of ["home", "mentions", "tag:node", "user:u0", thread]) await client.subscribe(stream);
  await client.request("post", { text });
  if (hasToken) await client.request("auth", { token: await tokenFor(user, { expires: 4.1e9 }) });
  await client.unsubscribe(await client.subscribe("user:u1"));
  await leave(client, way);
  return client;
}

async function enter(
  place: Place,
  user: string,
  { hasToken, codec = "json" }: { hasToken: boolean; codec?: "json" | "msgpack" },
): Promise<SessionClient> {
  return place.connect(user, hasToken ? { codec, token: await tokenFor(user) } : { codec });
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

/** A turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
