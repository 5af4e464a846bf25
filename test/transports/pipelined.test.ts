/* Requests sent on one connection before their answers came: one is begun when the answer before it has been taken. */

import { IncomingMessage, ServerResponse } from "node:http";
import { type Socket, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import * as v8 from "node:v8";
import tap, { type Test } from "tap";

import { OpenAuthenticator } from "../../broker/sessions/open-authenticator.ts";
import { Session } from "../../broker/sessions/session.ts";
import type { Credentials, Principal } from "../../broker/sessions/index.ts";
import { Subscription } from "../../broker/streams/index.ts";
import { mostPipelined } from "../../broker/transports/turns.ts";
import { call, startServer } from "./server.ts";

/** Counts who is asked about, and lets them wait when told to. */
class CountingAuthenticator extends OpenAuthenticator {
  asked = 0;
  /** Settles when those who ask are answered. */
  until: Promise<void> | undefined;

  override async authenticate(credentials: Credentials): Promise<Principal> {
    this.asked++;
    await this.until;
    return await super.authenticate(credentials);
  }
}

const pipelined = 200;
const streamRequest = "GET /v1/stream?stream=home&user=alice HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

await tap.test("one stream a connection, and nothing stays of the others", async (t) => {
  const { url, sessions, faults } = await startServer(t);
  const kinds = { Session, Subscription, ServerResponse, IncomingMessage };
  const before = new Map(Object.values(kinds).map((kind) => [kind, alive(kind)] as const)); // prototypes of classes made of these
  for (let round = 0; round < 3; round++) {
    const peer = open(t, url);
    peer.socket.write(streamRequest.repeat(pipelined));
    while (!peer.text.includes("event: live")) await sleep(5);
    t.equal(sessions.count, 1);
    t.equal(peer.text.split("HTTP/1.1 200").length, 2, "one answer");
    if (round === 1) peer.socket.resetAndDestroy();
    else if (round === 2) peer.socket.end();
    else peer.socket.destroy();
    while (sessions.count > 0) await sleep(5);
    peer.socket.destroy();
  }
  for (const [name, kind] of Object.entries(kinds)) {
    while (alive(kind) > before.get(kind)!) await sleep(5);
    t.pass(`no ${name}`);
  }
  t.same(faults, []);
});

await tap.test("whoever pipelines without end behind a stream, or at all, is cut off", async (t) => {
  const { url, sessions } = await startServer(t);
  const behind = open(t, url);
  behind.socket.write(streamRequest);
  while (!behind.text.includes("event: live")) await sleep(5);
  behind.socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2 * mostPipelined));
  await behind.closed;
  while (sessions.count > 0) await sleep(5);
  t.notMatch(behind.text, /"status"/);

  const many = open(t, url);
  many.socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(4 * mostPipelined));
  await many.closed;
});

await tap.test("pages that are not read are not made", async (t) => {
  const authenticator = new CountingAuthenticator();
  const { url } = await startServer(t, { authenticator });
  for (let i = 0; i < 60; i++)
    await call(url, "POST /v1/posts?user=alice", { body: { text: "x".repeat(16_000) } });
  authenticator.asked = 0;
  const requests = 240;
  const peer = open(t, url);
  peer.socket.pause();
  peer.socket.write(
    "GET /v1/users/alice/posts?user=alice&limit=200 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(requests),
  );
  let begun = 0;
  for (let same = 0; same < 50; same++) {
    await sleep(10);
    if (authenticator.asked !== begun || begun === 0) same = 0;
    begun = authenticator.asked;
  }
  t.ok(begun < requests / 2, `${begun} of ${requests} were begun`);
  peer.socket.resume();
  while (peer.answers < requests) await sleep(10);
  t.equal(authenticator.asked, requests, "all are answered once they are read");
});

await tap.test("answers of all methods come in order, one request at a time", async (t) => {
  const authenticator = new CountingAuthenticator();
  const { url } = await startServer(t, { authenticator });
  let go: (() => void) | undefined;
  authenticator.until = new Promise((resolve) => (go = resolve));
  const body = JSON.stringify({ text: "piped" });
  const peer = open(t, url);
  peer.socket.write(
    [
      `POST /v1/posts?user=alice HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      "GET /v1/posts/none?user=alice HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "HEAD /v1/users/alice/posts?user=alice HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "PUT /v1/users/alice/follows/bob?user=alice HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ].join(""),
  );
  while (authenticator.asked === 0) await sleep(5);
  await sleep(0);
  t.equal(authenticator.asked, 1);
  go!();
  while (peer.answers < 5) await sleep(5);
  t.same(peer.text.match(/HTTP\/1.1 \d+/g), [
    "HTTP/1.1 201",
    "HTTP/1.1 404",
    "HTTP/1.1 200",
    "HTTP/1.1 200",
    "HTTP/1.1 404",
  ]);
});

await tap.test("an upgrade behind an answer that is not written ends the connection", async (t) => {
  const authenticator = new CountingAuthenticator();
  const { url, sessions } = await startServer(t, { authenticator });
  authenticator.until = new Promise(() => {});
  const peer = open(t, url);
  peer.socket.write("GET /v1/posts/none?user=alice HTTP/1.1\r\nHost: localhost\r\n\r\n");
  peer.socket.write(
    "GET /v1/ws?user=alice HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
  );
  await Promise.race([peer.closed, sleep(200)]);
  t.equal(sessions.count, 0);
});

await tap.test("a stream that is hung up before its credentials are checked has no session", async (t) => {
  const authenticator = new CountingAuthenticator();
  const { url, sessions, streams } = await startServer(t, { authenticator });
  for (const end of ["destroy", "resetAndDestroy", "end"] as const) {
    let go: (() => void) | undefined;
    authenticator.until = new Promise((resolve) => (go = resolve));
    authenticator.asked = 0;
    const peer = open(t, url);
    peer.socket.write(streamRequest);
    while (authenticator.asked === 0) await sleep(5);
    peer.socket[end]();
    await peer.closed;
    await sleep(50); // the broker has seen it, or will: either way nothing may stay
    go!();
    await call(url, "GET /v1/posts/none?user=alice");
    while (sessions.count > 0 || streams.stats.subscriptions > 0) await sleep(5);
    t.pass(end);
  }
});

/** How many are alive after a full garbage collection. */
function alive(kind: new (...of: never[]) => object): number {
  return v8.queryObjects(kind, { format: "count" });
}

interface Peer {
  readonly socket: Socket;
  readonly text: string;
  readonly answers: number;
  readonly closed: Promise<unknown>;
}

function open(t: Test, url: string): Peer {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  t.teardown(async () => void socket.destroy());
  let text = "";
  let answers = 0;
  socket.on("error", () => {});
  socket.on("data", (bytes: Buffer) => {
    const more = bytes.toString("latin1");
    answers += more.split("HTTP/1.1 ").length - 1;
    text = (text + more).slice(-100_000);
  });
  return {
    socket,
    get text() {
      return text;
    },
    get answers() {
      return answers;
    },
    closed: new Promise((resolve) => socket.once("close", resolve)),
  };
}
