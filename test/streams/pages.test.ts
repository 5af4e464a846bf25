/* Pages are read in steps, a bounded number of look-ups each, that take turns with all other readers' work. What changes between
 * steps leaves no trace in a page that was not so at some moment. Work is counted here, never timed. */

import tap, { type Test } from "tap";

import type { Command, Offset } from "../../broker/state/index.ts";
import { Deliveries } from "../../broker/streams/deliveries.ts";
import { HomeReader } from "../../broker/streams/home.ts";
import { type PageRequest, Pages } from "../../broker/streams/pages.ts";
import { Work } from "../../broker/streams/readings.ts";
import { type Stream, Streams, Subscription } from "../../broker/streams/index.ts";
import { SessionBroker } from "../sessions/session-broker.ts";
import { type Store, openStore, post } from "../state/store.ts";
import { Reader } from "./reader.ts";

/** Look-ups of one step, and what a last one may take beyond. */
const mostInStep = 384;

function streamsOf({ state }: Store): Streams {
  return new Streams(state, { whenDurable: (_, done) => done(), onTooOld: () => {} });
}

function streamOf(store: Store, kind: "home" | "mentions", user: string, filter = {}): Stream {
  return { kind, name: kind, filter, reader: store.state.users.find(user)! };
}

/** Counts what is read from the store between two snapshots, which is what a step reads. */
function countSteps({ state }: Store): { steps: number; most: number } {
  const counted = { steps: 0, most: 0 };
  let now = 0;
  const count = (of: object, name: string, weigh: (result: unknown) => number): void => {
    const read = (of as Record<string, (...given: unknown[]) => unknown>)[name]!.bind(of);
    Object.assign(of, {
      [name]: (...given: unknown[]) => {
        const result = read(...given);
        counted.most = Math.max(counted.most, (now += weigh(result)));
        return result;
      },
    });
  };
  count(state, "entry", () => 1);
  count(state.topics, "before", () => 1);
  count(state.topics, "after", () => 1);
  count(state.follows, "list", (result) => (result as { targets: unknown[] }).targets.length / 4);
  count(state.follows, "following", (result) => (result as unknown[]).length / 4);
  count(state.follows, "followers", (result) => (result as unknown[]).length / 4);
  count(state.users, "handle", () => 1 / 2);
  const refresh = state.refresh.bind(state);
  state.refresh = () => {
    now = 0;
    counted.steps++;
    refresh();
  };
  return counted;
}

/** Alice is mentioned by strangers 6,000 times, and follows 3,000 who posted once each before that. */
async function openCostly(t: Test): Promise<Store> {
  const store = await openStore(t);
  const authors = Array.from({ length: 3_000 }, (_, i) => `a${i}`);
  await store.apply(["alice", "bob"].map((user) => ({ op: "user", user })));
  await store.apply(authors.map((author) => post(author)));
  await store.apply(authors.map((target): Command => ({ op: "follow", user: "alice", target })));
  await store.apply(authors.map((user): Command => ({ op: "follow", user, target: "bob" })));
  await store.apply(Array.from({ length: 6_000 }, (_, i) => post(`s${i % 50}`, { mentions: ["alice"] })));
  return store;
}

await tap.test("whatever is read, no step reads more than its share", async (t) => {
  const store = await openCostly(t);
  const alice = store.state.users.find("alice")!;
  const bob = store.state.users.find("bob")!;
  const filter = { from: "mutuals" as const };
  const readings: Record<string, (streams: Streams) => Promise<unknown>> = {
    "mentions that a filter hides, back": (streams) =>
      streams.read({ stream: streamOf(store, "mentions", "alice", filter), limit: 50 }),
    "mentions that a filter hides, forth": (streams) =>
      streams.read({ stream: streamOf(store, "mentions", "alice", filter), after: 0, limit: 50 }),
    "a home of thousands, back": (streams) =>
      streams.read({ stream: streamOf(store, "home", "alice"), limit: 50 }),
    "a home of thousands, back from an old cursor": (streams) =>
      streams.read({ stream: streamOf(store, "home", "alice"), before: 1_000, limit: 200 }),
    "a home of thousands, forth": (streams) =>
      streams.read({ stream: streamOf(store, "home", "alice"), after: 3_100, limit: 50 }),
    "the firehose": (streams) =>
      streams.read({ stream: { kind: "firehose", name: "firehose", filter: {} }, after: 3_100, limit: 200 }),
    following: (streams) => streams.readUsers({ of: "following", user: alice, after: 0, most: 1_000 }),
    followers: (streams) => streams.readUsers({ of: "followers", user: bob, after: 0, most: 1_000 }),
  };
  const counted = countSteps(store);
  for (const [name, read] of Object.entries(readings)) {
    const streams = streamsOf(store);
    Object.assign(counted, { steps: 0, most: 0 });
    await read(streams);
    t.ok(counted.steps > 1, `${name}: ${counted.steps} steps`);
    t.ok(counted.most <= mostInStep, `${name}: ${counted.most} look-ups in a step`);
  }
});

await tap.test("an ordinary page is read in one step", async (t) => {
  const store = await openStore(t);
  await store.apply(
    Array.from({ length: 100 }, (_, i): Command => ({ op: "follow", user: "bob", target: `a${i}` })),
  );
  await store.apply(Array.from({ length: 300 }, (_, i) => post(`a${i % 100}`)));
  const streams = streamsOf(store);
  const counted = countSteps(store);
  const { result } = await streams.read({ stream: streamOf(store, "home", "bob"), limit: 50 });
  t.equal(result.items.length, 50);
  t.equal(counted.steps, 1);
});

await tap.test("a costly page holds up neither a cheap one nor catch-up that come behind it", async (t) => {
  const store = await openCostly(t);
  const streams = streamsOf(store);
  const done: string[] = [];
  const filter = { from: "mutuals" as const };
  const costly = Array.from({ length: 3 }, () =>
    streams
      .read({ stream: streamOf(store, "mentions", "alice", filter), limit: 50 })
      .then(() => done.push("costly")),
  );
  const cheap = streams
    .read({ stream: { kind: "user", name: "", filter: {}, user: store.state.users.find("a1")! }, limit: 50 })
    .then(() => done.push("cheap"));
  const reader = new Reader();
  streams.open(new Subscription(1, streamOf(store, "home", "bob"), reader, 0));
  const resumed = reader.live().then(() => done.push("resumed"));
  await Promise.all([...costly, cheap, resumed]);
  t.same(done.slice(0, 2).toSorted(), ["cheap", "resumed"]);
  t.same(done.slice(2), ["costly", "costly", "costly"]);
});

/** A page, read step by step; `between` is called once, after `step` steps. */
async function readWith(
  store: Store,
  request: PageRequest,
  { step, between }: { step: number; between: () => Promise<unknown> },
): Promise<string[]> {
  const pages = new Pages(store.state, new Deliveries(store.state), new HomeReader(store.state));
  const work = new Work(64);
  const steps = pages.read(request, work);
  for (let taken = 0; ; taken++) {
    store.state.refresh();
    const { value, done } = steps.next();
    if (done === true) {
      if (taken <= step) throw new Error("the page was not under way");
      return value.items.map(({ event, cursor }) => `${event} ${cursor.split("-")[1]}`);
    }
    work.renew();
    if (taken === step) await between();
  }
}

/** Carol follows ann, ben and cleo, who post in turn, 60 each, then all of them again; dan posts as well. */
async function openCarol(t: Test): Promise<{ store: Store; by: Map<string, Offset[]> }> {
  const store = await openStore(t);
  const by = new Map<string, Offset[]>();
  const names = ["ann", "ben", "cleo", "dan"];
  await store.apply(["carol", ...names].map((user) => ({ op: "user", user })));
  await store.apply(names.slice(0, 3).map((target): Command => ({ op: "follow", user: "carol", target })));
  const outcomes = await store.apply(Array.from({ length: 240 }, (_, i) => post(names[i % 4]!)));
  for (const [i, { offset }] of outcomes.entries())
    by.set(names[i % 4]!, [...(by.get(names[i % 4]!) ?? []), offset]);
  return { store, by };
}

for (const direction of ["back", "forth"] as const) {
  const place = direction === "back" ? {} : { after: 0 };
  const requestOf = (store: Store): PageRequest => ({
    stream: streamOf(store, "home", "carol"),
    limit: 150,
    ...place,
  });

  await tap.test(
    `${direction}: what is deleted or unfollowed while a page is read is not on it`,
    async (t) => {
      const { store, by } = await openCarol(t);
      const ann = by.get("ann")!;
      const id = (offset: Offset): string => store.state.positions.id(offset);
      const first = direction === "back" ? ann.at(-1)! : ann[0]!;
      const items = await readWith(store, requestOf(store), {
        step: 1,
        between: () =>
          store.apply([
            { op: "delete", user: "ann", post: id(first) },
            { op: "unfollow", user: "carol", target: "ben" },
          ]),
      });
      const cleo = by.get("cleo")!;
      const expected = [...ann, ...cleo].toSorted((a, b) => a - b).filter((offset) => offset !== first);
      const wanted = new Set(expected.map((offset) => `post ${offset}`));
      t.same(
        items.filter((item) => !wanted.has(item)),
        [],
        "nothing of ben's, nor what was deleted",
      );
      t.ok(items.length >= 90, `${items.length} items`);
      t.same(
        items,
        [...items].toSorted((a, b) => Number(a.split(" ")[1]) - Number(b.split(" ")[1])),
      );
    },
  );

  await tap.test(`${direction}: who is followed while a page is read is not on its one half`, async (t) => {
    const { store, by } = await openCarol(t);
    // Over 2,000 follows: the page is read off the log, which has dan's posts as well.
    await store.apply(
      Array.from({ length: 2_100 }, (_, i): Command => ({ op: "follow", user: "carol", target: `x${i}` })),
    );
    const start = by.get("ann")![0]! - 1;
    const end = by.get("dan")!.at(-1)! + 1;
    const items = await readWith(
      store,
      {
        stream: streamOf(store, "home", "carol"),
        limit: 150,
        ...(direction === "back" ? { before: end } : { after: start }),
      },
      { step: 0, between: () => store.apply([{ op: "follow", user: "carol", target: "dan" }]) },
    );
    const dan = new Set(by.get("dan")!.map((offset) => `post ${offset}`));
    t.ok(items.length >= 100, `${items.length} items`);
    t.same(
      items.filter((item) => dan.has(item)),
      [],
    );
  });

  await tap.test(`${direction}: what is published while a page is read is not on it`, async (t) => {
    const { store, by } = await openCarol(t);
    const last = by.get("dan")!.at(-1)!;
    const items = await readWith(
      store,
      { ...requestOf(store), limit: 200 },
      {
        step: 1,
        between: () => store.apply(Array.from({ length: 50 }, () => post("ann"))),
      },
    );
    t.equal(items.length, 180);
    t.same(
      items.filter((item) => Number(item.split(" ")[1]) > last),
      [],
    );
  });
}

await tap.test(
  "a page forth whose entries are trimmed before it is read whole is refused, not short",
  async (t) => {
    const broker = await SessionBroker.for(t);
    const alice = await broker.connect("alice");
    const cursors: string[] = [];
    for (let i = 0; i < 20; i++)
      cursors.push((await alice.request("post", { text: "a post" }))["cursor"] as string);
    const read = broker.streams.read.bind(broker.streams);
    broker.streams.read = async (...given) => {
      await broker.trim(broker.positions.parseCursor(cursors[5]!)); // it waits for its turn meanwhile
      return read(...given);
    };
    await t.rejects(alice.request("read", { stream: "user:alice", after: cursors[0] }), {
      code: "cursor_too_old",
    });
    const back = await alice.request("read", { stream: "user:alice", before: cursors[10] });
    t.equal((back["items"] as object[]).length, 4, "back it holds what is left");
  },
);

await tap.test(
  "a reading asks before each step whether it is to go on, and tells what it cost all the same",
  async (t) => {
    const store = await openCostly(t);
    const streams = streamsOf(store);
    const stream = streamOf(store, "mentions", "alice", { from: "mutuals" });
    let steps = 0;
    let spent = 0;
    const reading = streams.read(
      { stream, limit: 50 },
      {
        check: () => {
          if (++steps === 3) throw new Error("not any more");
        },
        onSpent: (lookups) => (spent += lookups),
      },
    );
    await t.rejects(reading, { message: "not any more" });
    t.equal(steps, 3);
    t.ok(spent >= 400 && spent < 700, `${spent} look-ups`);
  },
);
