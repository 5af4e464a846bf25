import tap from "tap";

import { compareCursors } from "../../clients/core/cursors.ts";
import { type Stream, WhalesongError } from "../../clients/node/index.ts";
import { post } from "./scripted-broker.ts";
import { nextCursors, nextEvent, startSession } from "./session.ts";

await tap.test("cursors compare within an epoch by offset, and not across epochs", async (t) => {
  t.equal(compareCursors("e1-5", "e1-5"), 0);
  t.ok((compareCursors("e1-9", "e1-10") as number) < 0);
  t.ok((compareCursors("e1-20", "e1-10") as number) > 0);
  t.ok((compareCursors("e1-18446744073709551615", "e1-9") as number) > 0);
  t.equal(compareCursors("e1-5", "e2-5"), undefined);
  t.equal(compareCursors("e1-5", "e12-5"), undefined);
  t.equal(compareCursors("what", "ever"), undefined);
  t.equal(compareCursors("-5", "-6"), undefined);
});

await tap.test("a stream subscribes at once, with a number from 1 and what was asked", async (t) => {
  const { me, peer } = await startSession(t);
  const home = me.stream("home");
  const mentions = me.stream("mentions", { from: "live", filter: { from: "mutuals" }, as: "bob" });
  t.match(await peer.agree("e1-3"), { sub: 1, stream: "home" });
  const second = await peer.agree("e1-4");
  const { id: _, ...fields } = second;
  t.same(fields, {
    op: "subscribe",
    sub: 2,
    stream: "mentions",
    from: "live",
    filter: { from: "mutuals" },
    as: "bob",
  });
  t.equal(await home.opened, "e1-3");
  t.equal(await mentions.opened, "e1-4");
  t.equal(home.name, "home");
});

for (const codec of ["msgpack", "json"] as const) {
  await tap.test(
    `${codec}: events come in order, each to its stream, as the protocol types them`,
    async (t) => {
      const { me, peer } = await startSession(t, { codec });
      const home = me.stream("home");
      const tag = me.stream("tag:node");
      await peer.agree();
      await peer.agree();
      const repost = { event: "repost", cursor: "e1-2", id: "r2", by: "carol", at: 5, post: post(1).post };
      peer.send({ sub: 1, ...post(1) }, { sub: 2, ...post(1) }, { sub: 1, ...repost });
      peer.send(
        { sub: 1, event: "delete", cursor: "e1-3", id: "p1" },
        { sub: 1, event: "live", cursor: "e1-3" },
      );
      peer.send({ sub: 1, event: "cursor", cursor: "e1-9" });
      t.same(await nextEvent(home), post(1));
      t.same(await nextEvent(home), repost);
      t.same(await nextEvent(home), { event: "delete", cursor: "e1-3", id: "p1" });
      t.same(await nextEvent(home), { event: "live", cursor: "e1-3" });
      t.same(await nextEvent(home), { event: "cursor", cursor: "e1-9" });
      t.equal(home.cursor, "e1-9");
      t.same(await nextEvent(tag), post(1));
    },
  );
}

await tap.test("repeats are dropped; so are events of a kind this version does not know", async (t) => {
  const { me, peer } = await startSession(t);
  const home = me.stream("home");
  await peer.agree("e1-4");
  peer.send({ sub: 1, ...post(4) }, { sub: 1, ...post(5) }, { sub: 1, ...post(5) }, { sub: 1, ...post(3) });
  peer.send(
    { sub: 1, event: "poke", cursor: "e1-6", by: "x" },
    { sub: 1, ...post(6) },
    { sub: 1, ...post(7) },
  );
  peer.send({ sub: 1, event: "live", cursor: "e1-7" }, { sub: 1, event: "cursor", cursor: "e1-7" });
  peer.send({ sub: 1, ...post(8) });
  t.same(await nextCursors(home, 4), ["e1-5", "e1-7", "e1-7", "e1-8"]);
});

await tap.test(
  "an event is acknowledged when the loop asks for the next; acknowledgements coalesce",
  async (t) => {
    const { me, peer } = await startSession(t);
    const home = me.stream("home");
    await peer.agree();
    for (let offset = 1; offset <= 50; offset++) peer.send({ sub: 1, ...post(offset) });
    const read = nextCursors(home, 50);
    await read;
    t.same(await peer.expect("ack"), { op: "ack", sub: 1, cursor: "e1-49" });
    t.same(peer.left, []);
    peer.send({ sub: 1, ...post(51) });
    await nextEvent(home);
    t.same(await peer.expect("ack"), { op: "ack", sub: 1, cursor: "e1-50" });
  },
);

await tap.test(
  "break acknowledges what is finished, not the event it left at, and unsubscribes",
  async (t) => {
    const { me, peer } = await startSession(t);
    const home = me.stream("home");
    await peer.agree();
    peer.send({ sub: 1, ...post(1) }, { sub: 1, ...post(2) }, { sub: 1, ...post(3) });
    for await (const event of home) if (event.cursor === "e1-2") break;
    t.match(await peer.expect("ack"), { sub: 1, cursor: "e1-1" });
    t.match(await peer.expect("unsubscribe"), { sub: 1 });
    t.same(await home.next(), { done: true, value: undefined });
  },
);

await tap.test("ack: manual acknowledges what the user says, never back", async (t) => {
  const { me, peer } = await startSession(t);
  const home = me.stream("home", { ack: "manual" });
  await peer.agree();
  for (let offset = 1; offset <= 4; offset++) peer.send({ sub: 1, ...post(offset) });
  await nextCursors(home, 4);
  home.ack("e1-2");
  home.ack("e1-1");
  t.match(await peer.expect("ack"), { sub: 1, cursor: "e1-2" });
  home.ack();
  home.close();
  t.match(await peer.expect("ack"), { sub: 1, cursor: "e1-4" });
  await peer.expect("unsubscribe");
});

const waysToStop: Record<
  string,
  (it: { stream: Stream; abort: () => void; closeClient: () => Promise<void> }) => unknown
> = {
  "stream.close()": ({ stream }) => stream.close(),
  "stream.return()": ({ stream }) => stream.return(),
  "the stream's signal": ({ abort }) => abort(),
  "client.close()": ({ closeClient }) => closeClient(),
  "await using": ({ stream }) => stream[Symbol.asyncDispose](),
};
for (const [name, stop] of Object.entries(waysToStop)) {
  await tap.test(
    `${name} acknowledges what is finished, unsubscribes, and ends a waiting loop quietly`,
    async (t) => {
      const { me, peer } = await startSession(t);
      const aborter = new AbortController();
      const stream = me.stream("home", { signal: aborter.signal });
      await peer.agree();
      peer.send({ sub: 1, ...post(1) });
      const seen: string[] = [];
      const loop = (async () => {
        for await (const event of stream) {
          seen.push(event.cursor);
        }
      })();
      t.match(await peer.expect("ack"), { cursor: "e1-1" });
      await stop({ stream, abort: () => aborter.abort(), closeClient: () => me.close() });
      await loop;
      t.same(seen, ["e1-1"]);
      t.match(await peer.expect("unsubscribe"), { sub: 1 });
      t.same(await stream.next(), { done: true, value: undefined });
    },
  );
}

await tap.test("an aborted signal makes a stream that has ended", async (t) => {
  const { me, peer } = await startSession(t);
  for await (const _ of me.stream("home", { signal: AbortSignal.abort() })) t.fail("no event was expected");
  await peer.agree();
  await peer.expect("unsubscribe");
});

await tap.test(
  "a stream left while the broker is asked is unsubscribed once it has agreed, not before",
  async (t) => {
    const { me, peer } = await startSession(t);
    me.stream("home").close();
    const refused = me.stream("nonsense");
    refused.close();
    const asked = await peer.expect("subscribe");
    peer.refuse(await peer.expect("subscribe"), "bad_request", false);
    await peer.settled();
    t.same(peer.left, [], "an unsubscribe could overtake its subscribe in the broker");
    peer.ok(asked, { sub: 1, stream: "home", cursor: "e1-0" });
    t.match(await peer.expect("unsubscribe"), { sub: 1 });
    me.stream("mentions");
    t.match(await peer.agree(), { sub: 2 }, "the refused one's number is free");
    t.same(await refused.next(), { done: true, value: undefined });
  },
);

await tap.test(
  "a stream that the broker ends is thrown out of, or asked for again when that may mend",
  async (t) => {
    const { me, peer } = await startSession(t, { random: () => 0 });
    const home = me.stream("home");
    const mentions = me.stream("mentions");
    await peer.agree();
    await peer.agree();
    peer.send({ sub: 1, ...post(1) }, { sub: 2, ...post(1) });
    peer.send({ sub: 1, ...end("cursor_too_old") }, { sub: 2, ...end("unavailable") });
    t.match(await peer.agree(), { stream: "mentions", sub: 1, from: "e1-1" });
    t.equal((await nextEvent(home)).cursor, "e1-1");
    await t.rejects(home.next(), { name: "WhalesongError", code: "cursor_too_old" });
    peer.send({ sub: 1, ...post(2) });
    t.same(await nextCursors(mentions, 2), ["e1-1", "e1-2"]);
  },
);

await tap.test("a number is used again only after the broker has let it go", async (t) => {
  const { me, peer } = await startSession(t);
  me.stream("home").close();
  await peer.agree();
  const left = await peer.expect("unsubscribe");
  const second = me.stream("mentions");
  t.match(await peer.agree(), { sub: 2, stream: "mentions" });
  peer.send({ sub: 1, ...post(1) });
  peer.ok(left, { sub: 1 });
  await second.opened;
  await peer.settled();
  const third = me.stream("tag:a");
  t.match(await peer.agree(), { sub: 1, stream: "tag:a" });
  peer.send({ sub: 1, ...post(2) });
  t.equal((await nextEvent(third)).cursor, "e1-2");
});

await tap.test("a refusal that will not mend is thrown from the loop, once", async (t) => {
  const { me, peer } = await startSession(t);
  const stream = me.stream("firehose");
  peer.refuse(await peer.expect("subscribe"), "forbidden", false);
  await t.rejects(stream.opened, { name: "WhalesongError", code: "forbidden" });
  await t.rejects(stream.next(), { name: "WhalesongError", code: "forbidden" });
  t.same(await stream.next(), { done: true, value: undefined });
});

await tap.test("a refusal that may mend is asked again on the same session", async (t) => {
  const { me, peer } = await startSession(t, { random: () => 0 });
  const stream = me.stream("home");
  peer.refuse(await peer.expect("subscribe"), "rate_limited", true, { retryAfterMs: 5 });
  await peer.agree();
  peer.send({ sub: 1, ...post(1) });
  t.equal((await nextEvent(stream)).cursor, "e1-1");
});

await tap.test("a stream has one reader: a second waiting next() is refused", async (t) => {
  const { me, peer } = await startSession(t);
  const stream = me.stream("home");
  await peer.agree();
  const first = stream.next();
  await t.rejects(stream.next(), { message: /already waiting/ });
  peer.send({ sub: 1, ...post(1) });
  t.match(await first, { done: false, value: { cursor: "e1-1" } });
});

await tap.test("a stream opened on a closed client throws why", async (t) => {
  const { me } = await startSession(t);
  await me.close();
  await t.rejects(me.stream("home").next(), { name: "ConnectionError", code: "closed" });
});

await tap.test("an exception in the loop's body passes through, and unsubscribes", async (t) => {
  const { me, peer } = await startSession(t);
  const stream = me.stream("home");
  await peer.agree();
  peer.send({ sub: 1, ...post(1) });
  await t.rejects(
    async () => {
      for await (const event of stream) throw new WhalesongError("conflict", event.cursor);
    },
    { message: "e1-1" },
  );
  await peer.expect("unsubscribe");
});

await tap.test("a stream that is being read is refused to a second loop, and asked for once", async (t) => {
  const { me, peer } = await startSession(t);
  const filter = { replies: "followed" } as const;
  const first = me.stream("home");
  const second = me.stream("home", { from: "live" });
  me.stream("home", { filter });
  t.match(await peer.agree(), { stream: "home", sub: 1 });
  t.match(await peer.agree(), { stream: "home", sub: 2, filter }, "with another filter it is another one");
  await t.rejects(second.opened, { code: "conflict" });
  await t.rejects(second.next(), { name: "WhalesongError", code: "conflict", retryable: false });
  t.same(await second.next(), { done: true, value: undefined });
  peer.send({ sub: 1, ...post(1) });
  t.equal((await nextEvent(first)).cursor, "e1-1");
  t.same(peer.left, []);
});

await tap.test(
  "a stream that was left and is opened again is asked for once the broker has let it go",
  async (t) => {
    const { me, peer } = await startSession(t);
    me.stream("home").close(); // while the broker is being asked
    const again = me.stream("home");
    const asked = await peer.expect("subscribe");
    await peer.settled();
    t.same(peer.left, []);
    peer.ok(asked, { sub: 1, stream: "home", cursor: "e1-0" });
    const left = await peer.expect("unsubscribe");
    await peer.settled();
    t.same(peer.left, [], "the broker would refuse it as open");
    peer.ok(left, { sub: 1 });
    t.match(await peer.agree(), { stream: "home", sub: 1 });
    await again.opened;
    again.close(); // while it is open
    const third = me.stream("home");
    peer.ok(await peer.expect("unsubscribe"), { sub: 1 });
    t.match(await peer.agree(), { stream: "home", sub: 1 });
    await third.opened;
  },
);

function end(code: string): object {
  return { event: "end", error: { code, message: "scripted", retryable: true } };
}
