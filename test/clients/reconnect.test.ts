import tap from "tap";

import { backoffMs } from "../../clients/core/backoff.ts";
import { connectOn } from "../../clients/core/client.ts";
import type { Disconnect } from "../../clients/node/index.ts";
import { nodePlatform } from "../../clients/node/platform.ts";
import { post } from "./scripted-broker.ts";
import { nextCursors, nextEvent, startBroker, startSession } from "./session.ts";

await tap.test("the back-off is uniform below a ceiling that doubles up to its maximum", async (t) => {
  const options = { initialMs: 100, maxMs: 10_000 };
  const ceilings = [0, 1, 2, 3, 6, 7, 8, 1_000].map((attempt) => backoffMs(attempt, options, () => 1));
  t.same(ceilings, [100, 200, 400, 800, 6_400, 10_000, 10_000, 10_000]);
  t.equal(
    backoffMs(5, options, () => 0),
    0,
  );
  t.equal(
    backoffMs(1, options, () => 0.5),
    100,
  );
});

await tap.test(
  "a new session asks for every stream from where it was, then resends what is unanswered",
  async (t) => {
    const { me, peer, broker } = await startSession(t, { device: "phone" });
    const home = me.stream("home");
    const tag = me.stream("tag:a", { from: "live" });
    const unanswered = me.stream("tag:b", { from: "earliest" });
    await peer.agree("e1-5");
    await peer.agree("e1-5");
    await peer.expect("subscribe");
    peer.send({ sub: 1, ...post(6) }, { sub: 1, ...post(7) });
    t.equal((await nextEvent(home)).cursor, "e1-6");
    const posted = me.post("hello");
    const followed = me.follow("bob");
    const asked = [await peer.expect("post"), await peer.expect("follow")];
    await peer.settled();
    peer.ws.terminate();

    const again = await broker.peer();
    t.match(await again.welcome({ session: "s2" }), { user: "alice", device: "phone" });
    t.match(await again.agree("e1-7"), { stream: "home", sub: 1, from: "e1-7" });
    t.match(await again.agree("e1-5"), { stream: "tag:a", sub: 2, from: "e1-5" });
    t.match(await again.agree("e1-0"), { stream: "tag:b", sub: 3, from: "earliest" });
    const resent = [await again.expect("post"), await again.expect("follow")];
    t.same(resent, asked, "the same ids, the same key");
    again.ok(resent[0] as { op: string }, { id: "p9", cursor: "e1-9" });
    again.ok(resent[1] as { op: string }, { state: "following" });
    t.same(await posted, { id: "p9", cursor: "e1-9" });
    t.same(await followed, { state: "following" });
    t.equal(me.session, "s2");
    again.send(
      { sub: 1, ...post(7) },
      { sub: 1, ...post(8) },
      { sub: 2, ...post(6) },
      { sub: 3, ...post(1) },
    );
    t.same(await nextCursors(home, 2), ["e1-7", "e1-8"], "the buffered one, then what is new, no repeats");
    t.equal((await nextEvent(tag)).cursor, "e1-6");
    t.equal((await nextEvent(unanswered)).cursor, "e1-1");
  },
);

await tap.test(
  "the back-off grows while sessions do not last, and begins anew after one that did",
  async (t) => {
    let nowMs = 1_000_000;
    const broker = await startBroker(t);
    const connecting = connectOn({ ...nodePlatform, now: () => nowMs }, broker.url, {
      reconnect: { initialMs: 2, maxMs: 100 },
      random: () => 0.5,
    });
    let peer = await broker.peer();
    await peer.welcome();
    const me = await connecting;
    t.teardown(() => me.close());
    const waits: number[] = [];
    for (const lastedMs of [0, 0, 0, 4_999, 5_000, 0]) {
      nowMs += lastedMs;
      const lost = new Promise<Disconnect>((resolve) => me.on("disconnect", resolve));
      const back = new Promise((resolve) => me.on("connect", resolve));
      peer.ws.terminate();
      waits.push((await lost).retryInMs);
      peer = await broker.peer();
      await peer.welcome();
      await back;
    }
    t.same(waits, [1, 2, 4, 8, 1, 2]);
  },
);

await tap.test("what was asked while there is no session is sent when one stands", async (t) => {
  const { me, peer, broker } = await startSession(t);
  const lost = new Promise<Disconnect>((resolve) => me.on("disconnect", resolve));
  peer.ws.close(4000, "draining");
  t.match(await lost, { error: { code: "disconnected", closeCode: 4000 } });
  t.equal(me.connected, false);
  const posted = me.post("while away");
  const home = me.stream("home");
  const again = await broker.peer();
  const back = new Promise((resolve) => me.on("connect", resolve));
  await again.welcome();
  await back;
  await again.agree();
  again.ok(await again.expect("post"), { id: "p1", cursor: "e1-1" });
  t.match(await posted, { id: "p1" });
  again.send({ sub: 1, ...post(1) });
  t.match(await nextEvent(home), { cursor: "e1-1" });
});

await tap.test("an acknowledgement that may be lost with its session is made again", async (t) => {
  const { me, peer, broker } = await startSession(t);
  const home = me.stream("home");
  await peer.agree();
  peer.send({ sub: 1, ...post(1) }, { sub: 1, ...post(2) });
  await nextCursors(home, 2);
  await peer.expect("ack");
  peer.ws.terminate();
  const again = await broker.peer();
  await again.welcome();
  await again.agree("e1-2");
  t.match(await again.expect("ack"), { sub: 1, cursor: "e1-1" });
});

for (const code of ["epoch_mismatch", "cursor_too_old"] as const) {
  await tap.test(`${code} on coming back is thrown after what had arrived; nothing is skipped`, async (t) => {
    const { me, peer, broker } = await startSession(t);
    const home = me.stream("home");
    const other = me.stream("mentions");
    await peer.agree();
    await peer.agree();
    peer.send({ sub: 1, ...post(1) });
    await peer.settled();
    peer.ws.terminate();
    const again = await broker.peer();
    await again.welcome({ epoch: "e2" });
    again.refuse(await again.expect("subscribe"), code, false, { floor: "e2-0" });
    await again.agree();
    await other.opened;
    t.equal((await nextEvent(home)).cursor, "e1-1");
    await t.rejects(home.next(), { name: "WhalesongError", code, details: { floor: "e2-0" } });
    again.send({ sub: 2, ...post(2) });
    t.equal((await nextEvent(other)).cursor, "e1-2", "other streams go on");
  });
}

await tap.test("goodbye says when to come back, whatever the back-off would be", async (t) => {
  const { me, peer } = await startSession(t, { random: () => 0 });
  const said = new Promise((resolve) => me.on("goodbye", resolve));
  const lost = new Promise<Disconnect>((resolve) => me.on("disconnect", resolve));
  peer.send({ event: "goodbye", reason: "draining", reconnectMs: 500_000 });
  t.same(await said, { reason: "draining", reconnectMs: 500_000 });
  t.equal(me.connected, true, "the session lasts until the broker closes");
  peer.ws.close(4000, "draining");
  const { retryInMs } = await lost;
  t.ok(retryInMs > 300_000 && retryInMs <= 500_000, `${retryInMs} ms`);
});

await tap.test("after a goodbye the client does come back", async (t) => {
  const { me, peer, broker } = await startSession(t);
  peer.send({ event: "goodbye", reason: "draining", reconnectMs: 2 });
  peer.ws.close(4000, "draining");
  const back = new Promise((resolve) => me.on("connect", resolve));
  await (await broker.peer()).welcome();
  await back;
});

await tap.test(
  "closed for good, every loop and every request hears why, and no one comes back",
  async (t) => {
    const { me, peer, broker } = await startSession(t);
    const home = me.stream("home");
    await peer.agree();
    peer.send({ sub: 1, ...post(1) });
    const asked = me.ping();
    await peer.expect("ping");
    const closed = new Promise((resolve) => me.on("close", resolve));
    peer.ws.close(4401, "revoked");
    await t.rejects(asked, { name: "WhalesongError", code: "unauthenticated" });
    t.match(await closed, { error: { code: "unauthenticated" } });
    t.equal((await nextEvent(home)).cursor, "e1-1", "what had arrived comes first");
    await t.rejects(home.next(), { code: "unauthenticated" });
    await t.rejects(me.post("too late"), { code: "unauthenticated" });
    t.equal(me.connected, false);
    await me.close();
    t.equal(broker.accepted, 1);
  },
);

await tap.test("a silent broker is asked for a sign of life, then left", async (t) => {
  const { me, peer, broker } = await startSession(t, { heartbeatMs: 20 });
  const lost = new Promise<Disconnect>((resolve) => me.on("disconnect", resolve));
  await peer.expect("ping");
  t.match(await lost, { error: { message: /sign of life/ } });
  await (await broker.peer()).welcome();
});

await tap.test("close() while waiting to come back stops that", async (t) => {
  const { me, peer, broker } = await startSession(t, { reconnect: { initialMs: 600_000, maxMs: 600_000 } });
  const waiting = me.ping();
  const rejected = t.rejects(waiting, { code: "closed" });
  const lost = new Promise((resolve) => me.on("disconnect", resolve));
  peer.ws.terminate();
  await lost;
  await me.close();
  await rejected;
  t.equal(broker.accepted, 1);
});

await tap.test("a listener may close the client; one that is removed hears no more", async (t) => {
  const { me, peer, broker } = await startSession(t);
  const remove = me.on("disconnect", () => t.fail("it was removed"));
  remove();
  const closed = new Promise<void>((resolve) => {
    me.on("disconnect", () => void me.close().then(resolve));
  });
  peer.ws.terminate();
  await closed;
  t.equal(broker.accepted, 1);
});
