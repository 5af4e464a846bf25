/* The step from catch-up to live loses nothing and repeats nothing, whatever is applied, durable or told meanwhile. */

import tap from "tap";

import { type Entry, type Outcome, type State } from "../../broker/state/index.ts";
import { type Stream, Streams, Subscription } from "../../broker/streams/index.ts";
import { SessionBroker } from "../sessions/session-broker.ts";
import { offsetOf } from "../sessions/session-client.ts";
import { openStore, post } from "../state/store.ts";
import { Reader } from "./reader.ts";

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
  "who subscribes while others publish gets each post once, in order, from anywhere",
  async (t) => {
    const broker = await SessionBroker.for(t);
    const authors = await Promise.all(["a", "b", "c"].map((user) => broker.connect(user)));
    const reader = await broker.connect("reader");
    for (const user of ["a", "b", "c"]) await reader.request("follow", { user });
    const streams = ["home", "firehose", "user:a", "tag:node", "mentions"];
    const posting: Promise<unknown>[] = [];
    const subscribing: Promise<{ stream: string; start: number; events: { cursor?: unknown }[] }>[] = [];
    for (let i = 0; i < 1_500; i++) {
      posting.push(authors[i % 3]!.request("post", { text: `${i} #node @reader` }));
      if (i % 40 === 0) {
        const stream = streams[(i / 40) % streams.length]!;
        const from = i % 80 === 0 ? "earliest" : "live";
        subscribing.push(
          reader
            .subscribe(stream, { from })
            .then(({ start, events }) => ({ stream, start: offsetOf(start), events })),
        );
        await posting.at(-1);
      }
    }
    const posts = (await Promise.all(posting)) as { id: string }[];
    const last = Math.max(...posts.map(({ id }) => offsetOf(id)));
    const byA = posts.filter((_, i) => i % 3 === 0);
    for (const { stream, start, events } of await Promise.all(subscribing)) {
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

function read(state: State, streams: Streams, user: string, position = streams.head): Reader {
  const stream: Stream = { kind: "home", name: "home", filter: {}, reader: state.users.find(user)! };
  const reader = new Reader();
  streams.open(new Subscription(1, stream, reader, position));
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
