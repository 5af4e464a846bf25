/* A client that knows several nodes: where it begins, when it moves on, and what comes along. */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import tap, { type Test } from "tap";

import { connectOn } from "../../clients/core/client.ts";
import type { Platform } from "../../clients/core/platform.ts";
import { type Client, connect, type ConnectOptions, type Disconnect } from "../../clients/node/index.ts";
import { nodePlatform } from "../../clients/node/platform.ts";
import { freePort } from "../free-port.ts";
import { type Peer, post, type ScriptedBroker } from "./scripted-broker.ts";
import { nextCursors, nextEvent, quick, startBroker, startSession } from "./session.ts";

/** Nodes in the order given, no jitter and no back-off. */
const inOrder = { random: () => 0, reconnect: quick };

await tap.test(
  "failed nodes are passed over without any back-off, and the client says where it is",
  async (t) => {
    const broker = await startBroker(t);
    const dead = [`ws://127.0.0.1:${await freePort()}`, `ws://127.0.0.1:${await freePort()}`];
    const errors: Error[] = [];
    const connecting = connect([broker.url, ...dead], {
      random: () => 0.9, // the last of those left, and nearly the whole back-off
      reconnect: { initialMs: 600_000, maxMs: 600_000 },
      onError: (error) => errors.push(error),
    });
    await (await broker.peer()).welcome({ node: "n3" });
    const me = await connecting;
    t.match(errors, [{ message: new RegExp(dead[1]!) }, { message: new RegExp(dead[0]!) }]);
    t.equal(me.url, broker.url);
    t.equal(me.node, "n3");
    await me.close();
  },
);

await tap.test("a node that is not ready is left for the next one at once", async (t) => {
  const [a, b] = await startNodes(t);
  const connecting = connect([a.url, b.url], { random: () => 0, reconnect: { initialMs: 600_000 } });
  const notReady = await a.peer();
  notReady.refuse(await notReady.expect("hello"), "unavailable", true);
  await (await b.peer()).welcome();
  await (await connecting).close();
});

await tap.test("a text may hold several URLs; the same one counts once", async (t) => {
  const [a, b] = await startNodes(t);
  const connecting = connect(` ${a.url} ,${a.url}/v1/ws, ${b.url},`, { ...inOrder });
  (await a.peer()).ws.close(1013, "try again later");
  await (await b.peer()).welcome();
  const me = await connecting;
  t.equal(me.url, b.url);
  await me.close();
  t.equal(a.accepted, 1);
  await t.rejects(connect(" , "), { code: "bad_request" });
  await t.rejects(connect(["ws://127.0.0.1:1,", "nowhere"]), { code: "bad_request" });
});

await tap.test("streams, acknowledgements and requests go on at the next node", async (t) => {
  const { me, nodes, peer } = await startAtFirst(t, { device: "phone" });
  const home = me.stream("home");
  await peer.agree("e1-5");
  peer.send({ sub: 1, ...post(6) }, { sub: 1, ...post(7) });
  t.same(await nextCursors(home, 2), ["e1-6", "e1-7"]);
  const posted = me.post("hello");
  const asked = await peer.expect("post");
  const lost = new Promise<Disconnect>((resolve) => me.on("disconnect", resolve));
  peer.ws.terminate();
  t.match(await lost, { nextUrl: nodes[1].url, retryInMs: 0 });

  const again = await nodes[1].peer();
  t.match(await again.welcome({ node: "b" }), { user: "alice", device: "phone" });
  t.match(await again.agree("e1-7"), { stream: "home", from: "e1-7" });
  const resent = await again.expect("post");
  t.same(resent, asked, "the same id, the same key");
  again.ok(resent, { id: "p8", cursor: "e1-8" });
  t.match(await posted, { id: "p8" });
  t.match(await again.expect("ack"), { cursor: "e1-6" }, "what is done with is told to this node too");
  again.send({ sub: 1, ...post(7) }, { sub: 1, ...post(8) });
  t.same(await nextCursors(home, 1), ["e1-8"]);
  t.match({ url: me.url, node: me.node }, { url: nodes[1].url, node: "b" });
});

await tap.test("a node that hangs is left before the requests that it holds time out", async (t) => {
  const [a, b] = await startNodes(t);
  const startMs = Date.now();
  // Twenty times as fast as real time, with the times that nobody sets.
  const platform: Platform = {
    ...nodePlatform,
    now: () => startMs + (Date.now() - startMs) * 20,
    setTimer: (run, ms) => nodePlatform.setTimer(run, ms / 20),
    random: () => 0,
  };
  const connecting = connectOn(platform, [a.url, b.url], { user: "alice", connectTimeoutMs: 600_000 });
  const hanging = await a.peer();
  await hanging.welcome();
  const me = await connecting;
  t.teardown(() => me.close());
  const posted = me.post("hello");
  const asked = await hanging.expect("post");
  await hanging.expect("ping");
  const other = await b.peer();
  await other.welcome();
  const again = await other.expect("post");
  t.same(again, asked);
  other.ok(again, { id: "p1", cursor: "e1-1" });
  t.match(await posted, { id: "p1" });
});

await tap.test("goodbye: another node is gone to soon, the one that said it left alone", async (t) => {
  const { me, nodes, peer } = await startAtFirst(t);
  const [a, b] = nodes;
  const lost = new Promise<Disconnect>((resolve) => me.on("disconnect", resolve));
  peer.send({ event: "goodbye", reason: "draining", reconnectMs: 500_000 });
  peer.ws.close(4000, "draining");
  t.match(await lost, { nextUrl: b.url, retryInMs: 0 });
  const second = await b.peer();
  await second.welcome();
  second.ws.terminate();
  await (await b.peer()).welcome();
  t.equal(a.accepted, 1, "it comes back to the other, which failed, rather than to this one");
});

await tap.test("goodbye of all nodes: the first that is back is waited for", async (t) => {
  const { me, nodes, peer } = await startAtFirst(t);
  const [a, b] = nodes;
  peer.send({ event: "goodbye", reason: "draining", reconnectMs: 500_000 });
  peer.ws.close(4000, "draining");
  const second = await b.peer();
  await second.welcome();
  const lost = new Promise<Disconnect>((resolve) => me.on("disconnect", resolve));
  second.send({ event: "goodbye", reason: "draining", reconnectMs: 20 });
  second.ws.close(4000, "draining");
  t.match(await lost, { nextUrl: b.url });
  await (await b.peer()).welcome();
  t.equal(a.accepted, 1);
});

for (const code of ["unavailable", "storage_full"] as const) {
  await tap.test(`a request refused with ${code} is asked at another node, once`, async (t) => {
    const { me, nodes, peer } = await startAtFirst(t);
    const requests = [me.post("one"), me.follow("bob"), me.post("two")];
    const asked = [await peer.expect("post"), await peer.expect("follow"), await peer.expect("post")];
    peer.ok(asked[1]!, { state: "following" });
    peer.refuse(asked[0]!, code, true);
    await peer.ended;
    const again = await nodes[1].peer();
    await again.welcome();
    const resent = [await again.expect("post"), await again.expect("post")];
    t.same(resent, [asked[0], asked[2]], "under the same ids and keys; what was answered is not asked again");
    resent.forEach((request, i) => again.ok(request, { id: `p${i}`, cursor: `e1-${i}` }));
    t.match(await Promise.all(requests), [{ id: "p0" }, { state: "following" }, { id: "p1" }]);
  });
}

await tap.test("refused by all nodes, the caller is told, and the client stays where it is", async (t) => {
  const { me, nodes, peer } = await startAtFirst(t);
  const posted = me.post("one");
  const refused = t.rejects(posted, { name: "WhalesongError", code: "unavailable", retryable: true });
  peer.refuse(await peer.expect("post"), "unavailable", true);
  const second = await nodes[1].peer();
  await second.welcome();
  second.refuse(await second.expect("post"), "unavailable", true);
  await refused;
  const refusedAgain = t.rejects(me.post("two"), { code: "unavailable" });
  second.refuse(await second.expect("post"), "unavailable", true);
  await refusedAgain;
  t.equal(me.connected, true);
  t.same(
    nodes.map(({ accepted }) => accepted),
    [1, 1],
  );
});

await tap.test("what is wrong with the request itself is told at once", async (t) => {
  const { me, peer } = await startAtFirst(t);
  for (const [code, retryable] of [
    ["internal", true],
    ["not_found", false],
    ["epoch_mismatch", false],
  ] as const) {
    const refused = t.rejects(me.get("p1"), { code });
    peer.refuse(await peer.expect("get"), code, retryable);
    await refused;
  }
  const waits = me.get("p1");
  const asked = await peer.expect("get");
  peer.refuse(asked, "rate_limited", true, { retryAfterMs: 1 });
  t.same(await peer.expect("get"), asked, "the same node is asked again: another would be no faster");
  peer.ok(asked, { post: { id: "p1" } });
  await waits;
  t.equal(me.connected, true);
});

await tap.test("with one URL a refusal as unavailable is the caller's, as ever", async (t) => {
  const broker = await startBroker(t);
  const connecting = connect(broker.url, { user: "alice", reconnect: quick });
  const peer = await broker.peer();
  await peer.welcome();
  const me = await connecting;
  t.teardown(() => me.close());
  const refused = t.rejects(me.post("one"), { code: "unavailable" });
  peer.refuse(await peer.expect("post"), "unavailable", true);
  await refused;
  t.equal(broker.accepted, 1);
});

await tap.test(
  "a node behind the stream's cursor is left; where there is none ahead it is waited for",
  async (t) => {
    const { me, nodes, peer } = await startAtFirst(t);
    const home = me.stream("home");
    await peer.agree("e1-5");
    peer.send({ sub: 1, ...post(9) });
    t.equal((await nextEvent(home)).cursor, "e1-9");
    peer.ws.terminate();
    const behind = await nodes[1].peer();
    await behind.welcome();
    behind.refuse(await behind.expect("subscribe"), "unavailable", true);
    const back = await nodes[0].peer();
    await back.welcome();
    const asked = await back.expect("subscribe");
    t.match(asked, { from: "e1-9" });
    back.refuse(asked, "unavailable", true);
    t.match(await back.agree("e1-9"), { from: "e1-9" }, "asked again in the same session");
    back.send({ sub: 1, ...post(10) });
    t.equal((await nextEvent(home)).cursor, "e1-10");
  },
);

await tap.test("a cursor that no node knows is thrown, once all were asked", async (t) => {
  const { me, nodes, peer } = await startAtFirst(t);
  const home = me.stream("home", { from: "e1-999" });
  const thrown = t.rejects(home.next(), { code: "cursor_in_future" });
  peer.refuse(await peer.expect("subscribe"), "cursor_in_future", false);
  const second = await nodes[1].peer();
  await second.welcome();
  const asked = await second.expect("subscribe");
  t.match(asked, { stream: "home", from: "e1-999" });
  second.refuse(asked, "cursor_in_future", false);
  await thrown;
  t.equal(me.connected, true);
});

await tap.test("a code that is not known is retryable or not as the error says", async (t) => {
  const { me, peer } = await startSession(t);
  for (const [code, retryable] of [
    ["moon_in_the_way", true],
    ["moon_fell_down", false],
  ] as const) {
    const refused = t.rejects(me.read("home"), { name: "WhalesongError", code: "internal", retryable });
    peer.refuse(await peer.expect("read"), code, retryable);
    await refused;
  }
});

await tap.test("a URL that leads to no broker is passed over; when all do, that is the end", async (t) => {
  const broker = await startBroker(t);
  const wrong = [await noBroker(t), await noBroker(t)];
  const connecting = connect([...wrong, broker.url], { ...inOrder });
  await (await broker.peer()).welcome();
  await (await connecting).close();
  await t.rejects(connect(wrong, { ...inOrder }), { name: "ConnectionError", code: "refused" });
});

await tap.test(
  "a URL that led to no broker once is not held against it when it answers otherwise",
  async (t) => {
    const first = [404, 503, 404];
    const second = [503, 404];
    const urls = [await noBroker(t, () => first.shift()), await noBroker(t, () => second.shift())];
    await t.rejects(connect(urls, { ...inOrder }), { code: "refused", message: /HTTP 404/ });
    t.same([first, second], [[], []], "all were asked for before it was the end");
  },
);

await tap.test("credentials that one node refuses are not tried at the others", async (t) => {
  const [a, b] = await startNodes(t);
  const rejected = t.rejects(connect([a.url, b.url], { ...inOrder }), { code: "unauthenticated" });
  const peer = await a.peer();
  peer.refuse(await peer.expect("hello"), "unauthenticated", false);
  await rejected;
  t.equal(b.accepted, 0);
});

async function startNodes(t: Test): Promise<[ScriptedBroker, ScriptedBroker]> {
  return [await startBroker(t), await startBroker(t)];
}

/** A session with the first of two nodes. */
async function startAtFirst(
  t: Test,
  options: ConnectOptions = {},
): Promise<{ me: Client; peer: Peer; nodes: [ScriptedBroker, ScriptedBroker] }> {
  const nodes = await startNodes(t);
  const connecting = connect(
    nodes.map(({ url }) => url),
    { user: "alice", ...inOrder, ...options },
  );
  const peer = await nodes[0].peer();
  await peer.welcome();
  const me = await connecting;
  t.teardown(() => me.close());
  return { me, peer, nodes };
}

async function noBroker(t: Test, status: () => number | undefined = () => 404): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(status() ?? 404).end());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
