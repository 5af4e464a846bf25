/* Subscriptions whose user is dropped go on when the handle comes back under another number: nothing is missed, nothing comes twice. */

import tap from "tap";

import type { Command, Entry, Outcome, State } from "../../broker/state/index.ts";
import { type Stream, Streams, Subscription } from "../../broker/streams/index.ts";
import { Random } from "../model/random.ts";
import { type Store, openStore, post } from "../state/store.ts";
import { Reader, SteppedReader } from "./reader.ts";

const kinds = ["home", "mentions", "user"] as const;

/** What `streams.resolve` makes of a subscription's stream. */
function streamOf(streams: Streams, { users }: State, kind: (typeof kinds)[number], handle: string): Stream {
  const name = kind === "user" ? `user:${handle}` : kind;
  return streams.resolve(name, undefined, users.find(handle) ?? 0, handle);
}

/** A post that the stream of `ann` shows. */
function shown(kind: (typeof kinds)[number]): Command {
  return kind === "mentions" ? post("zoe", { mentions: ["Ann"] }) : post("Ann");
}

function trim(floor: number): Command {
  return { op: "trim", floor, most: 1_000 };
}

for (const kind of kinds) {
  await tap.test(`a live ${kind} goes on with who has the handle next`, async (t) => {
    const { store, streams, open } = await begin(await openStore(t));
    await apply(store, streams, [shown(kind)]);
    const reader = await open(kind, "ann");
    for (let i = 0; i < 3; i++) {
      const { answer } = (await apply(store, streams, [shown(kind)]))[0]!;
      t.equal(reader.events.at(-1), `post ${answer}`);
      await apply(store, streams, [trim(answer)]);
      store.state.refresh();
      t.equal(store.state.users.find("ann"), undefined);
    }
  });

  await tap.test(`a live ${kind} gets all posts of several users of one handle, told at once`, async (t) => {
    for (const isKnown of [true, false]) {
      const { store, streams, open } = await begin(await openStore(t));
      if (isKnown) await apply(store, streams, [shown(kind)]);
      const reader = await open(kind, "ann");
      const applied = store.state.applied();
      const commands: Command[] = [];
      for (let i = 1; i < 8; i += 2) commands.push(shown(kind), trim(applied + i));
      const outcomes = await apply(store, streams, [...commands, shown(kind)]);
      const expected = outcomes.filter((_, i) => i % 2 === 0).map(({ offset }) => `post ${offset}`);
      t.same(reader.events.slice(1), expected);
      t.same(new Set(outcomes.map(({ entry }) => entry?.kind)), new Set(["post", "forgotten"]));
    }
  });

  await tap.test(`a ${kind} that catches up goes on with who has the handle by then`, async (t) => {
    const { store, streams } = await begin(await openStore(t));
    const reader = new SteppedReader();
    await apply(store, streams, [shown(kind)]);
    const stream = streamOf(streams, store.state, kind, "ann");
    const subscription = new Subscription(1, stream, reader, streams.head);
    streams.open(subscription);
    await apply(store, streams, [trim(1)]);
    const first = (await apply(store, streams, [shown(kind)]))[0]!;
    await catchUp(reader, streams, subscription);
    t.same(reader.events, [`post ${first.offset}`, `live ${first.offset}`]);
    const next = (await apply(store, streams, [shown(kind)]))[0]!;
    t.equal(reader.events.at(-1), `post ${next.offset}`);

    // It falls back while it is linked, and its user goes and comes meanwhile.
    subscription.fallBack(next.offset);
    await apply(store, streams, [trim(next.offset)]);
    const last = (await apply(store, streams, [shown(kind)]))[0]!;
    await catchUp(reader, streams, subscription);
    t.same(reader.events.slice(-2), [`post ${last.offset}`, `live ${last.offset}`]);
    await apply(store, streams, [trim(last.offset)]);
    const late = (await apply(store, streams, [shown(kind)]))[0]!;
    t.equal(reader.events.at(-1), `post ${late.offset}`);
  });

  await tap.test(`a ${kind} that is closed while its user is none is let go`, async (t) => {
    const { store, streams, open } = await begin(await openStore(t));
    await apply(store, streams, [shown(kind)]);
    const reader = await open(kind, "ann");
    await apply(store, streams, [trim(1)]);
    streams.close(reader.subscription);
    const count = reader.events.length;
    await apply(store, streams, [shown(kind)]);
    t.equal(reader.events.length, count);
  });
}

await tap.test("a home of who was dropped shows what its next reader follows", async (t) => {
  const { store, streams, open } = await begin(await openStore(t));
  await apply(store, streams, [{ op: "user", user: "ben" }, post("ann")]);
  const reader = await open("home", "ann");
  await apply(store, streams, [trim(2)]);
  const outcomes = await apply(store, streams, [
    post("ben"),
    { op: "follow", user: "ann", target: "ben" },
    post("ben"),
    { op: "unfollow", user: "ann", target: "ben" },
    post("ben"),
    post("ann"),
  ]);
  t.same(
    reader.events.slice(1),
    [2, 5].map((i) => `post ${outcomes[i]!.offset}`),
  );
});

await tap.test("whoever comes and goes, each live stream gets what is its handle's, in order", async (t) => {
  const random = Random.seeded();
  t.comment(`WHALESONG_SEED=${random.seed}`);
  const { store, streams, open } = await begin(await openStore(t));
  const handles = ["ann", "ben", "cleo", "dan", "eve"];
  const readers = await Promise.all(
    handles.flatMap((handle) =>
      kinds.map(async (kind) => ({ kind, handle, reader: await open(kind, handle) })),
    ),
  );
  const posts: { offset: number; author: string; mentions: string[] }[] = [];
  let dropped = 0;
  for (let round = 0; round < 400; round++) {
    const applied = store.state.applied();
    // As a node that catches up with a cluster's log does: one transaction with whole lives in it, told of at once. Or as a broker
    // alone: several transactions are applied before one is told of, and no trim takes what was not told yet.
    const isWhole = random.chance(0.5);
    const commands = Array.from({ length: 1 + random.below(12) }, (_, i): Command => {
      if (random.chance(0.4)) return trim(Math.max(0, applied + (isWhole ? i : 0) - random.below(6)));
      const author = random.pick(handles);
      return post(author, { mentions: random.some(handles, 0.2).filter((handle) => handle !== author) });
    });
    const outcomes: Outcome[] = [];
    const size = isWhole ? commands.length : 3;
    for (let at = 0; at < commands.length; at += size)
      outcomes.push(...(await store.apply(commands.slice(at, at + size))));
    for (const [i, { offset, entry }] of outcomes.entries()) {
      const command = commands[i]!;
      if (entry?.kind === "forgotten") dropped += entry.users.length;
      if (command.op === "post") posts.push({ offset, author: command.user, mentions: command.mentions });
    }
    for (let at = 0; at < outcomes.length;) {
      const told = outcomes.slice(at, isWhole ? outcomes.length : at + 1 + random.below(6));
      at += told.length;
      tell(streams, told);
    }
    await streams.settled();
  }
  t.ok(dropped > 100, `${dropped} were dropped`);
  for (const { kind, handle, reader } of readers) {
    const expected = posts
      .filter(({ author, mentions }) => (kind === "mentions" ? mentions.includes(handle) : author === handle))
      .map(({ offset }) => `post ${offset}`);
    t.same(reader.events.slice(1), expected, `${kind} of ${handle}`);
  }
});

interface Opened extends Reader {
  subscription: Subscription;
}

async function begin(store: Store): Promise<{
  store: Store;
  streams: Streams;
  /** A subscription that is live. */
  open: (kind: (typeof kinds)[number], handle: string) => Promise<Opened>;
}> {
  const { state } = store;
  const streams = new Streams(state, {
    whenDurable: (_, callback) => callback(),
    onTooOld: () => {},
  });
  return {
    store,
    streams,
    async open(kind, handle) {
      const reader = new Reader();
      const stream = streamOf(streams, state, kind, handle);
      const subscription = new Subscription(1, stream, reader, streams.head);
      streams.open(subscription);
      await reader.live();
      return Object.assign(reader, { subscription });
    },
  };
}

/** Step by step, to the head. */
async function catchUp(reader: SteppedReader, streams: Streams, subscription: Subscription): Promise<void> {
  while (subscription.state !== "live") {
    await reader.step(() => streams.resume(subscription));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Applies in one transaction, and tells of it. */
async function apply(store: Store, streams: Streams, commands: Command[]): Promise<Outcome[]> {
  const outcomes = await store.apply(commands);
  tell(streams, outcomes);
  await streams.settled();
  return outcomes;
}

function tell(streams: Streams, outcomes: Outcome[]): void {
  const entries = outcomes.map(({ entry }) => entry).filter((entry): entry is Entry => entry !== undefined);
  streams.publish(entries, outcomes.at(-1)!.offset);
}
