/* WebSocket messages that are never finished, and connections that go on talking when they have been closed. */

import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { deflateRawSync } from "node:zlib";
import tap from "tap";

import { closeCodes, limits } from "../../protocol/index.ts";
import { SessionBroker } from "../sessions/session-broker.ts";
import { RawSocket } from "./raw-socket.ts";

const ping = 0x89;
const checks = limits.messageMs / 1_000;
/** A broker that waits for its peer's close frame would wait for longer. */
const endedWithinMs = 20_000;

await tap.test("a message has 64 fragments at most", async (t) => {
  const broker = await SessionBroker.for(t);
  for (const fragments of [limits.fragments, limits.fragments + 1]) {
    const socket = await RawSocket.open(broker.url, "/v1/ws?user=alice");
    const text = `{"id":1,"op":"ping"}`.padEnd(fragments, " ");
    for (let i = 0; i < fragments; i++) {
      const part = i === fragments - 1 ? text.slice(i) : text[i]!;
      socket.send((i === fragments - 1 ? 0x80 : 0) | (i === 0 ? 1 : 0), Buffer.from(part));
    }
    if (fragments === limits.fragments) t.match((await socket.next()).payload.toString(), /"ok"/);
    else t.equal(await socket.closeCode(), 1008);
    socket.end();
  }
});

/** Beginnings of messages. */
const beginnings: [what: string, head: number, payload: Buffer][] = [
  ["a fragment", 0x01, Buffer.from("{")],
  ["an empty fragment", 0x02, Buffer.alloc(0)],
  ["a compressed fragment", 0x41, deflateRawSync(Buffer.from(`{"id":1`))],
];

for (const [what, head, payload] of beginnings)
  await tap.test(`${what} that nothing follows ends its connection in time`, async (t) => {
    const broker = await SessionBroker.for(t, { compress: true });
    const socket = await RawSocket.open(broker.url, "/v1/ws?user=alice", [
      "Sec-WebSocket-Extensions: permessage-deflate",
    ]);
    socket.send(head, payload);
    socket.send(ping, Buffer.from("seen?"));
    await socket.find((frame) => frame.head === 0x8a); // what came before has been read
    for (let check = 1; check <= checks; check++) await broker.sessions.check();
    t.equal(broker.sessions.count, 1, `not before ${checks} checks have found it`);
    await broker.sessions.check();
    t.equal(await socket.closeCode(), closeCodes.message_timeout);
    socket.end();
  });

await tap.test("part of a frame is part of a message; one that is finished counts no more", async (t) => {
  const broker = await SessionBroker.for(t);
  const raw = await rawSocket(broker.url);
  const frame = Buffer.concat([
    Buffer.from([0x81, 0x80 | 20]),
    Buffer.alloc(4),
    Buffer.from(`{"id":7,"op":"ping"}`),
  ]);
  for (const part of [1, 2, 5, 15]) {
    raw.write(frame.subarray(0, part));
    await sleep(20);
    for (let check = 1; check <= checks; check++) await broker.sessions.check();
    raw.write(frame.subarray(part));
    while (!raw.text().includes(`"id":7`)) await sleep(5);
    raw.clear();
    t.equal(broker.sessions.count, 1);
  }
  raw.write(frame.subarray(0, 15));
  while (broker.sessions.count > 0) {
    await sleep(5);
    await broker.sessions.check();
  }
  raw.end();
});

await tap.test("what is sent on after a close is not decoded, and the connection ends", async (t) => {
  const rate = { perSecond: 0.001, burst: 1 };
  const broker = await SessionBroker.for(t, { connectionRate: rate, scopes: ["read", "write"] });
  const marker = "sent after the close";
  let decoded = 0;
  const { parse } = JSON;
  JSON.parse = (text: string, reviver) => {
    if (text.includes(marker)) decoded++;
    return parse(text, reviver) as unknown;
  };
  t.teardown(async () => void (JSON.parse = parse));
  for (const [why, code] of [
    ["refused credentials", closeCodes.unauthenticated],
    ["a flood", closeCodes.flooding],
    ["frames that are none", closeCodes.bad_frames],
  ] as const) {
    const socket = await RawSocket.open(
      broker.url,
      code === closeCodes.unauthenticated ? "/v1/ws" : "/v1/ws?user=a",
    );
    if (code === closeCodes.unauthenticated) socket.request({ id: 1, op: "hello" });
    if (code === closeCodes.flooding) for (let i = 0; i < 1_100; i++) socket.request({ id: i, op: "ping" });
    if (code === closeCodes.bad_frames) for (let i = 0; i < 16; i++) socket.send(0x81, Buffer.from("{"));
    t.equal(await socket.closeCode(), code, why);
    const start = performance.now();
    const ended = socket.next().then(
      () => t.fail("nothing comes behind a close frame"),
      () => {},
    );
    for (let isOver = false; !isOver;) {
      socket.request({ id: 1, op: "post", text: marker });
      isOver = await Promise.race([ended.then(() => true), sleep(10).then(() => false)]);
    }
    t.ok(performance.now() - start < endedWithinMs, "ended");
    t.equal(decoded, 0, "none was decoded");
    t.equal(broker.sessions.count, 0);
  }
});

/** A connection whose bytes are written as they are, ready for frames. */
async function rawSocket(url: string) {
  const { hostname, port, host } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.setNoDelay(true);
  socket.write(
    `GET /v1/ws?user=alice HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
  );
  let text = "";
  socket.on("error", () => {});
  socket.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
  while (!text.includes("\r\n\r\n")) await sleep(5);
  return {
    write: (bytes: Buffer) => socket.write(bytes),
    text: () => text,
    clear: () => (text = ""),
    end: () => socket.destroy(),
  };
}
