/* The step from catch-up to live loses nothing and repeats nothing, whatever is applied, durable or told meanwhile. */

import tap from "tap";

import { type Entry, type Outcome, type State } from "../../broker/state/index.ts";
import { type Stream, Streams, Subscription } from "../../broker/streams/index.ts";
import { SessionBroker } from "../sessions/session-broker.ts";
import { type SessionClient, offsetOf } from "../sessions/session-client.ts";
import { openStore, post } from "../state/store.ts";
import { Reader, SteppedReader } from "./reader.ts";

await tap.test(
  "a post before the follow is not pushed to a home that went live between the two being applied and told",
  async (t) => {
    const store = await openStore(t);
    await store.apply([
      { op: "user", user: "alice" },
      { op: "user", user: "bob" },
    ]);
    const streams = streamsOf(store.state);
    const applied = await store.apply([
      post("bob"),
      { op: "follow", user: "alice", target: "bob" },
      post("bob"),
    ]);
    const reader = read(store.state, streams, "alice");
    await reader.live();
    t.same(reader.events, ["live 2"]);
    tell(streams, applied);
    await streams.settled();
    t.same(reader.events, ["live 2", "post 5"]);
  },
);

await tap.test(
  "an unfollow that is applied and not yet durable holds what was read under it back",
  async (t) => {
    const store = await openStore(t);
    const waiting: (() => void)[] = [];
    await store.apply([{ op: "follow", user: "alice", target: "bob" }, post("bob")]);
    const streams = streamsOf(store.state, (_, callback) => waiting.push(callback));
    await store.apply([{ op: "unfollow", user: "alice", target: "bob" }]);
    const reader = read(store.state, streams, "alice", 0);
    await until(() => waiting.length > 0);
    t.same(reader.events, []);
    for (const callback of waiting.splice(0)) callback();
    await reader.live();
    t.same(reader.events, ["live 2"]);
  },
);

await tap.test("live events that come while a page waits to be durable leave after it", async (t) => {
  const store = await openStore(t);
  const waiting: (() => void)[] = [];
  await store.apply([post("alice"), post("alice")]);
  const streams = streamsOf(store.state, (_, callback) => waiting.push(callback));
  const reader = read(store.state, streams, "alice", 0);
  await until(() => waiting.length > 0);
  tell(streams, await store.apply([post("alice")]));
  await streams.settled();
  t.same(reader.events, []);
  for (const callback of waiting.splice(0)) callback();
  t.same(reader.events, ["post 1", "post 2", "live 2", "post 3"]);
});

await tap.test(
  "a home that follows thousands is linked in several steps: who is followed or unfollowed between them is pushed or not, once",
  async (t) => {
    const store = await openStore(t);
    const authors = Array.from({ length: 5_000 }, (_, i) => `a${i}`);
    await store.apply(["alice", "early", ...authors, "late"].map((user) => ({ op: "user" as const, user })));
    await store.apply(authors.map((target) => ({ op: "follow" as const, user: "alice", target })));
    const streams = streamsOf(store.state);
    const reader = new SteppedReader();
    const subscription = new Subscription(1, homeOf(store.state, "alice"), reader, streams.head);
    const changed = ["early", "a1", "a2500", "a4999", "late", "a7", "a2600", "a4998"];
    const change = async (op: "follow" | "unfollow", targets: string[]): Promise<void> => {
      tell(streams, await store.apply(targets.map((target) => ({ op, user: "alice", target }))));
      tell(streams, await store.apply(changed.map((author) => post(author))));
      await streams.settled();
    };
    const steps: (() => Promise<void>)[] = [
      () => change("follow", ["early", "late"]),
      () => change("unfollow", ["a1", "a2500", "a4999"]),
      async () => {
        await change("unfollow", ["a7", "a2600", "a4998", "early"]);
        await change("follow", ["a7", "a2600", "a4998"]);
      },
      () => change("follow", ["a4999", "early"]),
    ];
    streams.open(subscription);
    let wasLinking = false;
    for (const step of steps) {
      await reader.step(() => streams.resume(subscription));
      wasLinking ||= subscription.linking !== undefined;
      await step();
    }
    t.ok(wasLinking, "it was changed while it was being linked");
    while (subscription.state !== "live") await reader.step(() => streams.resume(subscription));
    const follows = ["early", "a4999", "late", "a7", "a2600", "a4998"];
    const caughtUp = reader.events.length;
    const [last] = (await store.apply(changed.map((author) => post(author)))).map((outcome, i) => {
      tell(streams, [outcome]);
      return { offset: outcome.offset, author: changed[i]! };
    });
    await streams.settled();
    const expected = changed.flatMap((author, i) =>
      follows.includes(author) ? [`post ${last!.offset + i}`] : [],
    );
    t.same(reader.events.slice(caughtUp), expected);
    t.equal(new Set(reader.events).size, reader.events.length, "nothing came twice");
    tell(
      streams,
      await store.apply(follows.map((target) => ({ op: "unfollow" as const, user: "alice", target }))),
    );
    const before = reader.events.length;
    tell(streams, await store.apply(changed.map((author) => post(author))));
    await streams.settled();
    t.same(reader.events.slice(before), [], "one link each was made, and cut");
  },
);

await tap.test(
  "a home that follows thousands gets all that came while it was long away, once, in order",
  async (t) => {
    const store = await openStore(t);
    const authors = Array.from({ length: 4_500 }, (_, i) => `a${i}`);
    await store.apply(["alice", ...authors, "other"].map((user) => ({ op: "user" as const, user })));
    await store.apply(authors.map((target) => ({ op: "follow" as const, user: "alice", target })));
    const start = store.state.applied();
    const posting = authors.filter((_, i) => i % 9 === 0);
    const posted = await store.apply([...posting, "other"].map((author) => post(author)));
    // More than the tail covers: what came before has to be merged.
    const filling = Array.from({ length: 10_000 }, () => ({ op: "user" as const, user: "alice" }));
    for (let i = 0; i < 7; i++) await store.apply(filling);
    const newest = await store.apply([post("a4499"), post("other"), post("a0")]);
    const streams = streamsOf(store.state);
    const reader = read(store.state, streams, "alice", start);
    // While it is planned, which takes several steps: what it no longer follows does not come.
    await store.apply([{ op: "unfollow", user: "alice", target: "a9" }]);
    await reader.live();
    const expected = posted.slice(0, -1).filter((_, i) => posting[i] !== "a9");
    t.same(
      reader.events.slice(0, -1).filter((event) => !event.startsWith("cursor")),
      [
        ...expected.map(({ offset }) => `post ${offset}`),
        `post ${newest[0]!.offset}`,
        `post ${newest[2]!.offset}`,
      ],
    );
  },
);

await tap.test(
  "who subscribes while others publish gets each post once, in order, from anywhere",
  async (t) => {
    const broker = await SessionBroker.for(t);
    const authors = await Promise.all(["a", "b", "c"].map((user) => broker.connect(user)));
    const count = 1_500;
    const each = 40;
    // A session has a stream open once.
    const readers = await Promise.all(
      Array.from({ length: Math.ceil(count / each) }, () => broker.connect("reader")),
    );
    for (const user of ["a", "b", "c"]) await readers[0]!.request("follow", { user });
    const streams = ["home", "firehose", "user:a", "tag:node", "mentions"];
    const posting: Promise<unknown>[] = [];
    const subscribing: Promise<{
      reader: SessionClient;
      stream: string;
      start: number;
      events: { cursor?: unknown }[];
    }>[] = [];
    for (let i = 0; i < count; i++) {
      posting.push(authors[i % 3]!.request("post", { text: `${i} #node @reader` }));
      if (i % each === 0) {
        const stream = streams[(i / each) % streams.length]!;
        const from = i % (2 * each) === 0 ? "earliest" : "live";
        const reader = readers[i / each]!;
        subscribing.push(
          reader
            .subscribe(stream, { from })
            .then(({ start, events }) => ({ reader, stream, start: offsetOf(start), events })),
        );
        await posting.at(-1);
      }
    }
    const posts = (await Promise.all(posting)) as { id: string }[];
    const last = Math.max(...posts.map(({ id }) => offsetOf(id)));
    const byA = posts.filter((_, i) => i % 3 === 0);
    for (const { reader, stream, start, events } of await Promise.all(subscribing)) {
      const expected = (stream === "user:a" ? byA : posts)
        .map(({ id }) => offsetOf(id))
        .filter((offset) => offset > start)
        .sort((a, b) => a - b);
      const end = stream === "user:a" ? expected.at(-1)! : last;
      await reader.until(() => events.some(({ cursor }) => offsetOf(cursor) >= end));
      const got = events.filter((event) => "post" in event).map(({ cursor }) => offsetOf(cursor));
      t.same(got, expected, `${stream} from ${start}`);
    }
    t.same(broker.faults, []);
  },
);

function streamsOf(
  state: State,
  whenDurable: (offset: number, callback: () => void) => void = (_, callback) => callback(),
): Streams {
  return new Streams(state, { whenDurable, onTooOld: () => {} });
}

function homeOf(state: State, user: string): Stream {
  return { kind: "home", name: "home", filter: {}, reader: state.users.find(user)! };
}

function read(state: State, streams: Streams, user: string, position = streams.head): Reader {
  const reader = new Reader();
  streams.open(new Subscription(1, homeOf(state, user), reader, position));
  return reader;
}

/** Tells the streams of outcomes, as the log does once they are durable. */
function tell(streams: Streams, outcomes: Outcome[]): void {
  const entries = outcomes.map(({ entry }) => entry).filter((entry): entry is Entry => entry !== undefined);
  streams.publish(entries, outcomes.at(-1)!.offset);
}

async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await new Promise((resolve) => setImmediate(resolve));
}
