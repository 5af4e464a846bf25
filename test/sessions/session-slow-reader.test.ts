/* A reader slower than its stream: it costs its outbox, waits for nobody, and gets everything in order. */

import tap, { type Test } from "tap";

import { SessionBroker } from "./session-broker.ts";
import { type Inbox, type SessionClient, offsetOf } from "./session-client.ts";

const large = "x".repeat(16_000);

await tap.test("a backlog of large posts is caught up in order, none twice", async (t) => {
  const broker = await SessionBroker.for(t);
  const bob = await broker.connect("bob");
  const ids = await publish(bob, 400);
  const inbox = await bob.subscribe("user:bob", { from: "earliest" });
  await hasAll(t, bob, inbox, ids);
});

await tap.test(
  "a live reader gets a burst larger than its outbox without anything else happening",
  async (t) => {
    const broker = await SessionBroker.for(t);
    const bob = await broker.connect("bob");
    const alice = await broker.connect("alice");
    const inbox = await alice.subscribeLive("user:bob");
    const ids = await publish(bob, 400);
    await hasAll(t, alice, inbox, ids);
  },
);

await tap.test(
  "a reader that stops reading holds up no one, and gets all in order when it goes on",
  async (t) => {
    const broker = await SessionBroker.for(t);
    const bob = await broker.connect("bob");
    const slow = await broker.connect("slow");
    const quick = await broker.connect("quick");
    const slowInbox = await slow.subscribeLive("user:bob");
    const quickInbox = await quick.subscribeLive("user:bob");
    slow.socket.pause();
    const ids: string[] = [];
    // What the kernel's buffers take is not known: go on until the outbox was dropped.
    while (broker.fallBacks === 0) ids.push(...(await publish(bob, 200)));
    ids.push(...(await publish(bob, 200)));
    await hasAll(t, quick, quickInbox, ids);
    t.ok(slowInbox.events.length < ids.length, "the slow one is behind");
    slow.socket.resume();
    await hasAll(t, slow, slowInbox, ids);
  },
);

async function publish(author: SessionClient, count: number): Promise<string[]> {
  const posting = Array.from({ length: count }, (_, i) => author.request("post", { text: `${i} ${large}` }));
  return (await Promise.all(posting)).map(({ id }) => id as string);
}

/** Waits for the last of `ids`, then compares them all. */
async function hasAll(t: Test, client: SessionClient, inbox: Inbox, ids: string[]): Promise<void> {
  const last = offsetOf(ids.at(-1));
  await client.until(() => inbox.events.some(({ cursor }) => offsetOf(cursor) >= last));
  const posts = inbox.events.filter(({ event }) => event === "post");
  t.same(
    posts.map(({ cursor }) => offsetOf(cursor)),
    ids.map(offsetOf),
  );
}
