/* Reposts in home: at most once for an original among the 40 candidates before, however the stream is read. */

import tap, { type Test } from "tap";

import { SessionBroker } from "../sessions/session-broker.ts";
import { type Inbox, type Message, type SessionClient, offsetOf } from "../sessions/session-client.ts";

interface Cast {
  broker: SessionBroker;
  /** Follows bob and carol; dave is a stranger. */
  alice: SessionClient;
  /** Her home, live from the start. */
  live: Inbox;
  bob: SessionClient;
  carol: SessionClient;
  dave: SessionClient;
}

await tap.test("two reposts of one original: the second is hidden, live, resumed and in pages", async (t) => {
  const cast = await meet(t);
  const original = await post(cast.dave, "original");
  const first = await repost(cast.bob, original);
  await repost(cast.carol, original);
  await shows(t, cast, { expected: [first], after: [offsetOf(original), first] });
});

await tap.test(
  "a withdrawn repost was a candidate all the same: another right after it is hidden",
  async (t) => {
    const cast = await meet(t);
    const original = await post(cast.dave, "original");
    const withdrawn = await repost(cast.bob, original);
    const gone = await withdraw(cast, withdrawn);
    await repost(cast.carol, original);
    await shows(t, cast, { expected: [withdrawn, gone], after: [offsetOf(original), withdrawn, gone] });
  },
);

await tap.test("who withdraws a repost and makes it again does not bring the original back", async (t) => {
  const cast = await meet(t);
  const original = await post(cast.dave, "original");
  const withdrawn = await repost(cast.bob, original);
  const gone = await withdraw(cast, withdrawn);
  const again = await repost(cast.bob, original);
  t.ok(again > gone, "it is a repost of its own");
  await shows(t, cast, { expected: [withdrawn, gone], after: [offsetOf(original), withdrawn, gone] });
});

await tap.test(
  "an original that 40 others came after is shown again, one that 39 came after is not",
  async (t) => {
    for (const others of [39, 40]) {
      const cast = await meet(t);
      const original = await post(cast.bob, "original");
      const expected = [offsetOf(original)];
      for (let i = 0; i < others; i++) expected.push(offsetOf(await post(cast.bob, `${i}`)));
      const second = await repost(cast.carol, original);
      if (others === 40) expected.push(second);
      await shows(t, cast, { expected, after: [expected[0]!, expected[20]!, expected[39]!] });
    }
  },
);

/** The live stream of alice, resumed streams from each of `after`, and pages of any size show `expected`. */
async function shows(
  t: Test,
  { broker, alice, live }: Cast,
  { expected, after }: { expected: number[]; after: number[] },
): Promise<void> {
  const end = offsetOf(await post(alice, "the end"));
  const isThere = (offset: number): boolean => {
    const entry = broker.state.entry(offset);
    return !((entry?.kind === "post" || entry?.kind === "repost") && entry.deleted);
  };
  t.same(await until(alice, live, end), [...expected, end], "live");
  const kept = [...expected.filter(isThere), end];
  for (const start of after) {
    const again = await broker.connect("alice"); // a session has a stream open once
    const inbox = await again.subscribe("home", { from: broker.state.positions.cursor(start) });
    t.same(
      await until(again, inbox, end),
      kept.filter((offset) => offset > start),
      `resumed after ${start}`,
    );
  }
  for (const limit of [1, 2, 3, 200]) {
    const read: number[] = [];
    let before: unknown;
    do {
      const page = await alice.request("read", {
        stream: "home",
        limit,
        ...(before === undefined ? {} : { before }),
      });
      read.unshift(...(page["items"] as Message[]).map(({ cursor }) => offsetOf(cursor)));
      ({ before } = page);
    } while (before !== undefined);
    t.same(read, kept, `pages of ${limit}`);
  }
}

async function meet(t: Test): Promise<Cast> {
  const broker = await SessionBroker.for(t);
  const [alice, bob, carol, dave] = await Promise.all(
    ["alice", "bob", "carol", "dave"].map((user) => broker.connect(user)),
  );
  await alice!.request("follow", { user: "bob" });
  await alice!.request("follow", { user: "carol" });
  return {
    broker,
    alice: alice!,
    live: await alice!.subscribeLive("home"),
    bob: bob!,
    carol: carol!,
    dave: dave!,
  };
}

async function post(author: SessionClient, text: string): Promise<string> {
  return (await author.request("post", { text }))["id"] as string;
}

async function repost(by: SessionClient, original: string): Promise<number> {
  return offsetOf((await by.request("repost", { post: original }))["cursor"]);
}

async function withdraw({ broker, bob }: Cast, offset: number): Promise<number> {
  return offsetOf((await bob.request("delete", { post: broker.state.positions.id(offset) }))["cursor"]);
}

async function until(client: SessionClient, inbox: Inbox, end: number): Promise<number[]> {
  await client.until(() => inbox.events.some(({ cursor }) => offsetOf(cursor) >= end));
  return inbox.events.filter(({ post: p, id }) => p ?? id).map(({ cursor }) => offsetOf(cursor));
}
