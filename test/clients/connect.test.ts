import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";

import tap from "tap";

import { socketUrl } from "../../clients/core/options.ts";
import { connect, ConnectionError, WhalesongError } from "../../clients/node/index.ts";
import { ScriptedBroker } from "./scripted-broker.ts";
import { quick, startBroker, startSession } from "./session.ts";

await tap.test("a URL may be ws or http, with or without the path", async (t) => {
  t.equal(socketUrl("ws://h:1"), "ws://h:1/v1/ws");
  t.equal(socketUrl("ws://h:1/"), "ws://h:1/v1/ws");
  t.equal(socketUrl("http://h:1/v1/ws"), "ws://h:1/v1/ws");
  t.equal(socketUrl("https://h/broker/?a=b#c"), "wss://h/broker/v1/ws?a=b");
  t.equal(socketUrl("wss://[::1]:5252"), "wss://[::1]:5252/v1/ws");
  for (const url of ["", "h:1", "ftp://h", "ws://", "ws:///v1/ws"]) {
    t.throws(() => socketUrl(url), { name: "WhalesongError", code: "bad_request" }, url);
  }
  await t.rejects(connect("nowhere"), { code: "bad_request" });
  await t.rejects(connect([]), { code: "bad_request" });
});

for (const codec of ["msgpack", "json"] as const) {
  await tap.test(`${codec}: hello says who I am, and its answer is readable on the client`, async (t) => {
    const broker = await startBroker(t);
    const connecting = connect(broker.url, {
      user: "alice",
      device: "phone",
      as: "bob",
      client: "test/1",
      codec,
    });
    const peer = await broker.peer();
    t.equal(peer.codec, codec);
    t.equal(peer.path, "/v1/ws");
    const hello = await peer.welcome({ user: "bob", head: "e1-7" });
    t.match(hello, { op: "hello", user: "alice", device: "phone", as: "bob", client: "test/1" });
    const me = await connecting;
    t.match(
      { user: me.user, session: me.session, node: me.node, epoch: me.epoch, head: me.head },
      { user: "bob", session: "s1", node: "n1", epoch: "e1", head: "e1-7" },
    );
    t.equal(me.limits.frameBytes, 65_536);
    t.equal(me.connected, true);
    await me.close();
    t.equal(me.connected, false);
    t.match(await peer.ended, { code: 1000 });
  });
}

await tap.test("msgpack is the default, and a token goes into hello instead of a user", async (t) => {
  const broker = await startBroker(t);
  const connecting = connect(broker.url, { user: "alice", token: "t1" });
  const peer = await broker.peer();
  t.equal(peer.codec, "msgpack");
  const hello = await peer.welcome();
  t.equal(hello["token"], "t1");
  t.notOk("user" in hello);
  await (await connecting).close();
});

for (const code of ["unauthenticated", "forbidden", "bad_request"] as const) {
  await tap.test(`a hello refused with ${code} rejects at once`, async (t) => {
    const broker = await startBroker(t);
    const connecting = connect(broker.url, { user: "alice", reconnect: quick });
    const rejected = t.rejects(connecting, { name: "WhalesongError", code });
    const peer = await broker.peer();
    peer.refuse(await peer.expect("hello"), code, false);
    await rejected;
    await peer.ended;
    t.equal(broker.accepted, 1);
  });
}

await tap.test("a close code that says do not come back rejects at once", async (t) => {
  for (const [code, expected] of [
    [4401, { name: "WhalesongError", code: "unauthenticated" }],
    [4400, { name: "ConnectionError", code: "refused", closeCode: 4400, retryable: false }],
    [1008, { name: "ConnectionError", code: "refused", closeCode: 1008, retryable: false }],
  ] as const) {
    const broker = await startBroker(t);
    const rejected = t.rejects(connect(broker.url, { reconnect: quick }), expected);
    (await broker.peer()).ws.close(code, "scripted");
    await rejected;
    t.equal(broker.accepted, 1);
  }
});

await tap.test("a failure that may mend is retried until a session stands, and reported", async (t) => {
  const broker = await startBroker(t);
  const errors: Error[] = [];
  const connecting = connect(broker.url, { reconnect: quick, onError: (error) => errors.push(error) });
  const busy = await broker.peer();
  busy.refuse(await busy.expect("hello"), "unavailable", true);
  (await broker.peer()).ws.close(1013, "try again later");
  (await broker.peer()).ws.terminate();
  await (await broker.peer()).welcome();
  await (await connecting).close();
  t.match(errors, [
    { name: "WhalesongError", code: "unavailable" },
    { name: "ConnectionError", code: "disconnected", closeCode: 1013 },
    { name: "ConnectionError", code: "disconnected", closeCode: 1006 },
  ]);
});

await tap.test("with reconnect: false the first failure rejects", async (t) => {
  const gone = await ScriptedBroker.start();
  const { url } = gone;
  await gone.stop();
  await t.rejects(connect(url, { reconnect: false }), { name: "ConnectionError", code: "disconnected" });
});

await tap.test("a server that is no broker rejects; one that is overloaded is tried again", async (t) => {
  const statuses = [503, 404];
  const server = createServer((_request, response) => {
    response.statusCode = statuses.shift() ?? 404;
    response.end();
  });
  const url = await listen(server);
  t.teardown(() => server.close());
  await t.rejects(connect(url, { reconnect: quick }), {
    name: "ConnectionError",
    code: "refused",
    message: /HTTP 404/,
  });
  t.same(statuses, []);
});

await tap.test("a peer that never answers is given up after connectTimeoutMs", async (t) => {
  const server = createTcpServer((socket) => {
    t.teardown(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await t.rejects(connect(url, { reconnect: false, connectTimeoutMs: 20 }), {
    code: "disconnected",
    message: /no session within 20 ms/,
  });
});

await tap.test("an aborted signal rejects with its reason", async (t) => {
  const reason = new Error("changed my mind");
  await t.rejects(connect("ws://127.0.0.1:1", { signal: AbortSignal.abort(reason) }), reason);

  const broker = await startBroker(t);
  const stop = new AbortController();
  const rejected = t.rejects(connect(broker.url, { signal: stop.signal, reconnect: quick }), reason);
  const peer = await broker.peer();
  await peer.expect("hello");
  stop.abort(reason);
  await rejected;
  await peer.ended;
});

await tap.test("a signal aborted later closes the client as close() does", async (t) => {
  const stop = new AbortController();
  const { me, peer } = await startSession(t, { signal: stop.signal });
  const closed = new Promise((resolve) => me.on("close", resolve));
  const waiting = me.stream("home").next();
  const asked = me.ping();
  stop.abort(new Error("enough"));
  t.same(await waiting, { done: true, value: undefined });
  await t.rejects(asked, { name: "ConnectionError", code: "closed", cause: { message: "enough" } });
  t.same(await closed, {});
  t.match(await peer.ended, { code: 1000 });
});

await tap.test("getToken is asked before each connection; its failure rejects connect()", async (t) => {
  await t.rejects(
    connect("ws://127.0.0.1:1", {
      getToken: () => {
        throw new Error("signed out");
      },
    }),
    { message: "signed out" },
  );
  const broker = await startBroker(t);
  let asked = 0;
  const connecting = connect(broker.url, { getToken: async () => `t${++asked}`, reconnect: quick });
  const first = await broker.peer();
  t.equal((await first.welcome())["token"], "t1");
  const me = await connecting;
  first.ws.close(4100, "token expired");
  t.equal((await (await broker.peer()).welcome())["token"], "t2");
  await me.close();
});

await tap.test("errors are instances of the two exported classes", async (t) => {
  t.ok(new ConnectionError("timeout", "late") instanceof Error);
  t.equal(new ConnectionError("timeout", "late").retryable, true);
  t.equal(new ConnectionError("closed", "over").retryable, false);
  t.ok(new WhalesongError("not_found", "none") instanceof Error);
});

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
