/* Requests that offer another protocol: all but WebSockets are answered as if they offered nothing. */

import { once } from "node:events";
import { connect } from "node:net";

import tap from "tap";

import { exchange, statusesIn } from "./exchange.ts";
import { RawSocket } from "./raw-socket.ts";
import { call, startBroker } from "./server.ts";

const h2c =
  "Host: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
const last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

await tap.test("an offer of another protocol is passed over, and the request served", async (t) => {
  const { url } = await startBroker(t);
  for (const offer of ["h2c", "H2C", "TLS/1.0", "h2c, websocket", "foo/2", "websocket/13"]) {
    const head = `Host: localhost\r\nConnection: upgrade\r\nUpgrade: ${offer}\r\n`;
    const text = await exchange(url, `GET /healthz HTTP/1.1\r\n${head}\r\n`, last);
    t.same(statusesIn(text), [200, 200], offer);
  }
  t.same(statusesIn(await exchange(url, `GET /v1/ws HTTP/1.1\r\n${h2c}\r\n`, last)), [426, 200]);
  t.same(statusesIn(await exchange(url, `GET /v1/stream?user=a HTTP/1.1\r\n${h2c}\r\n`, last)), [400, 200]);
});

await tap.test("bodies come whole, in one piece, in pieces or in chunks", async (t) => {
  const { url } = await startBroker(t);
  const body = JSON.stringify({ text: "from Java" });
  const post = `POST /v1/posts?user=java HTTP/1.1\r\n${h2c}Content-Type: application/json\r\n`;
  const whole = `${post}Content-Length: ${body.length}\r\n\r\n`;
  const chunked = `${post}Transfer-Encoding: chunked\r\n\r\n`;
  for (const parts of [
    [`${whole}${body}`],
    [whole, body],
    [whole, body.slice(0, 5), body.slice(5)],
    [`${chunked}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`],
    [
      chunked,
      `5\r\n${body.slice(0, 5)}\r\n`,
      `${(body.length - 5).toString(16)}\r\n${body.slice(5)}\r\n0\r\n\r\n`,
    ],
  ]) {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    for (const part of parts) {
      await new Promise<void>((sent) => socket.write(part, () => sent()));
      await call(url, "GET /healthz"); // what was sent has come: it is read in turn
    }
    while (!text.includes('"cursor"')) await once(socket, "data");
    socket.write(last);
    await once(socket, "close");
    t.same(statusesIn(text), [201, 200], parts.join("|"));
  }
  const { json } = await call(url, "GET /v1/users/java/posts?user=java");
  t.equal((json["items"] as unknown[]).length, 5, "each was published once");
});

await tap.test("requests before it on the connection are answered in their order", async (t) => {
  const { url } = await startBroker(t);
  const before = "GET /v1/users/a/home HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const text = await exchange(url, `${before}GET /readyz HTTP/1.1\r\n${h2c}\r\n`, last);
  t.same(statusesIn(text), [200, 200, 200]);
  t.ok(
    text.indexOf('"items"') < text.indexOf('"ready"') && text.indexOf('"ready"') < text.indexOf('"alive"'),
  );
});

await tap.test("WebSockets are heard in any case, and CONNECT is not served", async (t) => {
  const { url } = await startBroker(t);
  const socket = await RawSocket.open(url, "/v1/ws?user=alice", []);
  t.match(socket.upgrade, /^HTTP\/1.1 101 /);
  socket.end();
  const shouted = await exchange(
    url,
    "GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: UPGRADE\r\nUpgrade: WebSocket\r\n\r\n",
  );
  t.same(statusesIn(shouted), [404]);
  t.equal(await exchange(url, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"), "");
  t.equal((await call(url, "GET /healthz")).status, 200);
});
