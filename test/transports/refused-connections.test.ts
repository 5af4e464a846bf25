/* A connection that is refused is ended by the broker, whatever its peer does: no file stays open for it. */

import { setTimeout as sleep } from "node:timers/promises";
import tap from "tap";

import { HalfOpenPeer, openFiles } from "./half-open.ts";
import { startBroker } from "./server.ts";

/** Peers for each refusal. */
const peers = 5;

/** An upgrade of `path` with these lines in place of the usual ones. */
function upgrade(path: string, changed: Record<string, string> = {}, method = "GET"): string {
  const lines = {
    Host: "127.0.0.1",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    ...changed,
  };
  const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${head.join("")}\r\n`;
}

const refusals: [what: string, sent: string, status: number][] = [
  ["an upgrade of another path", upgrade("/v1/none"), 404],
  ["an upgrade by another page", upgrade("/v1/ws", { Origin: "http://evil.example" }), 403],
  ["an upgrade to another subprotocol", upgrade("/v1/ws", { "Sec-WebSocket-Protocol": "other" }), 400],
  ["an upgrade with an old version", upgrade("/v1/ws", { "Sec-WebSocket-Version": "7" }), 400],
  ["an upgrade without a key", upgrade("/v1/ws", { "Sec-WebSocket-Key": "none" }), 400],
  ["an upgrade by POST", upgrade("/v1/ws", {}, "POST"), 400],
  ["what is no HTTP", "what is this?\r\n\r\n", 400],
  ["what is no HTTP, more of it than is read at once", "x".repeat(500_000), 400],
  ["too many headers", `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(40_000)}\r\n\r\n`, 431],
  ["a request that closes", "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200],
  ["a request with another version", "GET /healthz HTTP/1.0\r\n\r\n", 200],
];

await tap.test("a peer that keeps its half open costs no file once it has its answer", async (t) => {
  const broker = await startBroker(t, { workers: 0 });
  for (const [what, sent, status] of refusals) {
    const before = openFiles();
    const all = await Promise.all(Array.from({ length: peers }, () => HalfOpenPeer.open(broker.url)));
    for (const { socket } of all) socket.write(sent);
    await Promise.all(all.map(({ ended }) => ended));
    for (const peer of all) t.match(peer.status, new RegExp(`^HTTP/1.1 ${status} `), what);
    const held = all.filter(({ socket }) => !socket.destroyed).length;
    while (openFiles() > before + held) await sleep(10); // its own ends are still open
    for (const { socket } of all) socket.destroy();
    while (openFiles() > before) await sleep(10);
  }
});

await tap.test("a peer that keeps its half open and takes no page is cut off", async (t) => {
  const broker = await startBroker(t, { workers: 0, noProgressMs: 1_000 });
  const { length } = await (await fetch(`${broker.url}/openapi.json`)).text();
  t.ok(length > 10_000, "an answer that is worth not reading");
  const before = openFiles();
  const peer = await HalfOpenPeer.open(broker.url);
  peer.socket.pause();
  peer.socket.write("GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200));
  while (openFiles() > before + 1) await sleep(10);
  peer.socket.destroy();
});
