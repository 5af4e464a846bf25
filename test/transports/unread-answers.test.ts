/* Who reads no answers is not read either, whatever they say: what the broker holds for one connection is bounded. */

import { type Socket, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import tap, { type Test } from "tap";

import type { Broker } from "../../broker/broker.ts";
import { encode } from "../../protocol/index.ts";
import { call, secret, startBroker, tokenFor } from "./server.ts";

/** How much of all answers a broker that is not read, and what lies between, may hold. */
const mostHeld = 2 / 3;
/** Looks without a change, 10 ms apart, after which nothing more is expected. */
const quietLooks = 50;

function masked(opcode: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([opcode, 0x80 | payload.length]), Buffer.alloc(4), payload]);
}

const json = { op: "none", id: 1 };
const floods: { what: string; subprotocol: string; unit: Buffer; code: string }[] = [
  {
    what: "unknown operations as JSON",
    subprotocol: "whalesong.v1.json",
    unit: masked(0x81, Buffer.from(JSON.stringify(json))),
    code: "unknown_op",
  },
  {
    what: "unknown operations as msgpack",
    subprotocol: "whalesong.v1.msgpack",
    unit: masked(0x82, encode("msgpack", json) as Buffer),
    code: "unknown_op",
  },
  {
    what: "requests with a wrong field",
    subprotocol: "whalesong.v1.json",
    unit: masked(0x81, Buffer.from(JSON.stringify({ op: "ping", x: 1 }))),
    code: "bad_request",
  },
];

/** Their answers are 20 MB and more: systems keep a third of that on its way. */
const frames = 120_000;

for (const { what, subprotocol, unit, code } of floods)
  await tap.test(`a flood of ${what}, never read, is held back`, async (t) => {
    const broker = await startBroker(t, { authSecret: secret, workers: 0 });
    const token = await tokenFor("app", { scope: "read write backend" });
    const socket = await rawUpgrade(t, broker, token, subprotocol);
    const chunk = Buffer.concat(Array.from({ length: 1_000 }, () => unit));
    for (let sent = 0; sent < frames; sent += 1_000) socket.write(chunk);
    const held = await settled(() => refusals(broker, code));
    t.ok(held > 0, `${held} were refused`);
    t.ok(held < frames * mostHeld, `${held} of ${frames} answers are held at most`);
    socket.resume();
    while (!socket.destroyed && (await refusals(broker, code)) < frames) await sleep(20);
    t.notOk(socket.destroyed, "all are answered once they are read");
  });

await tap.test("a flood of HTTP requests, never read, is held back", async (t) => {
  const broker = await startBroker(t, { authSecret: secret, workers: 0 });
  for (const [line, code] of [
    ["GET /none", "not_found"],
    ["GET /v1/users/a/home", "unauthenticated"],
    ["PATCH /healthz", "bad_request"],
  ] as const) {
    const { hostname, port } = new URL(broker.url);
    const socket = connect(Number(port), hostname);
    t.teardown(async () => void socket.destroy());
    socket.on("error", () => {});
    socket.pause();
    const before = await refusals(broker, code);
    const requests = 60_000;
    socket.write(`${line} HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(300)}\r\n\r\n`.repeat(requests));
    const held = (await settled(() => refusals(broker, code))) - before;
    t.ok(held > 0, `${line}: ${held} were refused`);
    t.ok(held < requests * mostHeld, `${line}: ${held} of ${requests} answers are held at most`);
    socket.destroy();
  }
});

async function rawUpgrade(t: Test, broker: Broker, token: string, subprotocol: string): Promise<Socket> {
  const { hostname, port } = new URL(broker.url);
  const socket = connect(Number(port), hostname);
  t.teardown(async () => void socket.destroy());
  socket.on("error", () => {});
  socket.write(
    `GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nAuthorization: Bearer ${token}\r\n` +
      `Sec-WebSocket-Protocol: ${subprotocol}\r\n\r\n`,
  );
  const answer = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
  t.match(answer.toString("latin1"), /^HTTP\/1.1 101 /);
  // Until its token is verified it is nobody's, and has the rate of anybody.
  const ping = { op: "ping", id: 1 };
  socket.write(
    subprotocol === "whalesong.v1.json"
      ? masked(0x81, Buffer.from(JSON.stringify(ping)))
      : masked(0x82, encode("msgpack", ping) as Buffer),
  );
  await new Promise((resolve) => socket.once("data", resolve));
  socket.on("data", () => {});
  socket.pause();
  return socket;
}

async function refusals({ url }: Broker, code: string): Promise<number> {
  const { text } = await call(url, "GET /metrics");
  return Number(
    new RegExp(`^whalesong_refusals_total\\{code="${code}"\\} (\\d+)$`, "m").exec(text)?.[1] ?? 0,
  );
}

/** What `look` says once it has not changed for a while. */
async function settled(look: () => Promise<number>): Promise<number> {
  let seen = await look();
  for (let same = 0; same < quietLooks; same++) {
    await sleep(10);
    const now = await look();
    if (now !== seen || now === 0) same = 0;
    seen = now;
  }
  return seen;
}
