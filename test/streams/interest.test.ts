/* Interest and predicate answer one question: who does an entry concern? Fan-out reaches just those, once, in order, while
 * subscriptions come and go. */

import fc from "fast-check";
import tap from "tap";

import type { Command, DeleteEntry, Entry } from "../../broker/state/index.ts";
import { Deliveries } from "../../broker/streams/deliveries.ts";
import { FanOut } from "../../broker/streams/fan-out.ts";
import { Flusher, type Stream, Subscription } from "../../broker/streams/index.ts";
import { HomeReader } from "../../broker/streams/home.ts";
import { Interest } from "../../broker/streams/interest.ts";
import { Links } from "../../broker/streams/links.ts";
import { concerns } from "../../broker/streams/predicate.ts";
import { type Store, openStore, post } from "../state/store.ts";
import { Reader } from "./reader.ts";

const users = ["ann", "ben", "cleo", "dan"];

await tap.test(
  "the subscriptions that interest reaches are those that the predicate says an entry concerns",
  async (t) => {
    const user = fc.constantFrom(...users);
    const target = fc.nat({ max: 12 });
    const command = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          op: fc.constant("post" as const),
          user,
          mentions: fc.array(user, { maxLength: 2 }),
          tags: fc.subarray(["a", "B"]),
          target: fc.option(target),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({ op: fc.constantFrom("repost" as const, "delete" as const), user, target }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          op: fc.constantFrom("follow" as const, "follow" as const, "unfollow" as const),
          user,
          followee: user,
        }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 20, maxLength: 40 }), async (commands) => {
        const store = await openStore(t);
        const { state } = store;
        await store.apply(users.map((name) => ({ op: "user", user: name })));
        await store.apply(users.map((name) => post(name, { mentions: [users[0]!], tags: ["a"] })));
        const interest = new Interest();
        const subscriptions = streams(store).map(
          (stream, i) => new Subscription(i + 1, stream, new Reader(), 0),
        );
        for (const subscription of subscriptions) interest.attach(subscription, []);
        for (const one of commands) {
          const { entry } = (await store.apply([commandOf(store, one)]))[0]!;
          if (entry === undefined) continue;
          if (entry.kind === "follow") interest.follow(entry.author, entry.target);
          if (entry.kind === "unfollow") interest.unfollow(entry.author, entry.target);
          const reached = new Set<Subscription>();
          const nodes = interest.nodesOf(entry);
          let after: number | undefined = entry.kind === "delete" && entry.reposted ? 0 : undefined;
          while (after !== undefined) {
            const reposters = interest.repostersOf(state, entry as DeleteEntry, after, 1);
            nodes.push(...reposters.nodes);
            after = reposters.next;
          }
          for (const node of nodes) {
            for (let i = 0; i < interest.degree(node); i++) reached.add(interest.subscription(node, i));
          }
          for (const subscription of subscriptions) {
            if (isReplysThread(store, subscription.stream)) continue;
            const isConcerned = concerns(state, subscription.stream, entry);
            if (reached.has(subscription) !== isConcerned) {
              const { name } = subscription.stream;
              throw new Error(
                `${JSON.stringify(entry)}: ${name} is ${isConcerned ? "not reached" : "reached"}`,
              );
            }
          }
        }
        for (const subscription of subscriptions) interest.detach(subscription);
        interest.sweep();
      }),
      { numRuns: 40, endOnFailure: true },
    );
  },
);

await tap.test(
  "subscriptions that stay get every entry, those that come and go between slices none twice",
  async (t) => {
    const store = await openStore(t);
    const { state } = store;
    await store.apply([{ op: "user", user: "ann" }]);
    const ann = state.users.find("ann")!;
    const interest = new Interest();
    const fanOut = fanOutOf(store, interest);
    const stream: Stream = { kind: "user", user: ann, name: "user:ann", filter: {} };
    const open = (): Subscription => {
      const subscription = new Subscription(1, stream, new Reader(), state.applied());
      subscription.state = "live";
      interest.attach(subscription, []);
      return subscription;
    };
    const close = (subscription: Subscription): void => {
      subscription.state = "closed";
      interest.detach(subscription);
    };
    // Enough for many slices, of which each lasts 5 ms.
    const staying = Array.from({ length: 30_000 }, open);
    const leaving = Array.from({ length: 30_000 }, open);
    const random = fc.sample(fc.nat(leaving.length - 1), { numRuns: 4_000, seed: 2 });
    const outcomes = await store.apply(Array.from({ length: 10 }, () => post("ann")));
    const entries = outcomes.map(({ entry }) => entry).filter((entry): entry is Entry => entry !== undefined);
    fanOut.publish(entries, state.applied());
    let slices = 0;
    while (fanOut.reached < state.applied()) {
      slices++;
      for (const place of random.splice(0, 200)) {
        close(leaving[place]!);
        leaving[place] = open();
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.ok(slices > 2, `${slices} slices`);
    const expected = entries.map(({ offset }) => `post ${offset}`).join();
    t.equal(staying.filter((subscription) => eventsOf(subscription) !== expected).length, 0);
    t.equal(
      leaving.filter((subscription) => eventsOf(subscription) !== "" && eventsOf(subscription) !== expected)
        .length,
      0,
    );
  },
);

await tap.test(
  "connecting and disconnecting touches as much memory for whales as for authors with few followers",
  async (t) => {
    const follows = 100;
    const touched = { toConnect: [0, 0], toDisconnect: [0, 0] };
    for (const [i, online] of [30, 1_500].entries()) {
      let words = 0;
      const interest = new Interest(
        new Links((length) => {
          const segment = new Uint32Array(length);
          return new Proxy(segment, {
            get: (_, word) => (words++, segment[Number(word)]),
            set: (_, word, value: number) => (words++, (segment[Number(word)] = value), true),
          });
        }),
      );
      const authors = Array.from({ length: follows }, (_, author) => author + 1);
      const connect = (reader: number): Subscription => {
        const stream: Stream = { kind: "home", reader, name: "home", filter: {} };
        const subscription = new Subscription(1, stream, new Reader(), 0);
        interest.attach(subscription, authors);
        return subscription;
      };
      const others = Array.from({ length: online }, (_, reader) => connect(1_000 + reader));
      words = 0;
      connect(999);
      touched.toConnect[i] = words;
      // Not the last that came: its place in each list is taken by another.
      const leaving = others[online >> 1]!;
      words = 0;
      interest.detach(leaving);
      touched.toDisconnect[i] = words;
    }
    for (const [few, many] of Object.values(touched)) {
      t.ok(few! > 3 * follows, "the words are counted");
      t.ok(many! < 20 * follows, `${many} words for ${follows} whales`);
      t.ok(many! < 1.2 * few!, `${many} words with many others, ${few} with few`);
    }
  },
);

await tap.test(
  "posts walked together begin and end for a reader where a follow and an unfollow stand between",
  async (t) => {
    const store = await openStore(t);
    const { state } = store;
    await store.apply([
      { op: "follow", user: "ann", target: "cleo" },
      { op: "follow", user: "ben", target: "dan" },
    ]);
    const [ann, ben, cleo, dan] = users.map((name) => state.users.find(name)!);
    const interest = new Interest();
    const fanOut = fanOutOf(store, interest);
    const open = (reader: number, following: number): Reader => {
      const sink = new Reader();
      const subscription = new Subscription(
        1,
        { kind: "home", reader, name: "home", filter: {} },
        sink,
        state.applied(),
      );
      subscription.state = "live";
      interest.attach(subscription, [following]);
      return sink;
    };
    const [anns, bens] = [open(ann!, cleo!), open(ben!, dan!)];
    const outcomes = await store.apply([
      ...postsOf("cleo", 3),
      { op: "follow", user: "ben", target: "cleo" },
      ...postsOf("cleo", 2),
      { op: "unfollow", user: "ann", target: "cleo" },
      ...postsOf("cleo", 2),
    ]);
    fanOut.publish(
      outcomes.flatMap(({ entry }) => entry ?? []),
      state.applied(),
    );
    await fanOut.settled();
    const offsets = outcomes.map(({ offset }) => offset);
    const eventsAt = (places: number[]): string[] => places.map((place) => `post ${offsets[place]}`);
    t.same(anns.events, eventsAt([0, 1, 2, 4, 5]));
    t.same(bens.events, eventsAt([4, 5, 7, 8]));
  },
);

await tap.test("a home met twice in one walk counts a hidden repost once among its recent 40", async (t) => {
  const store = await openStore(t);
  const { state } = store;
  await store.apply([
    { op: "follow", user: "ann", target: "ben" },
    { op: "follow", user: "ann", target: "cleo" },
  ]);
  const interest = new Interest();
  const fanOut = fanOutOf(store, interest);
  const [ann, ben, cleo] = users.map((name) => state.users.find(name)!);
  const open = (stream: Stream, reader: Reader): Subscription => {
    const subscription = new Subscription(1, stream, reader, state.applied());
    subscription.state = "live";
    interest.attach(subscription, stream.kind === "home" ? [ben!, cleo!] : []);
    return subscription;
  };
  const ofCleo: Stream = { kind: "user", user: cleo!, name: "user:cleo", filter: {} };
  const first = open(ofCleo, new Reader());
  // Goes while cleo's list is walked: the list's last, which was met, takes its place, which was not.
  const closing = new Reader();
  closing.send = () => interest.detach(first);
  open(ofCleo, closing);
  const home = new Reader();
  open({ kind: "home", reader: ann!, name: "home", filter: {} }, home);
  const publish = async (command: Command): Promise<number> => {
    const { entry, offset } = await store.one(command);
    fanOut.publish([entry!], offset);
    await fanOut.settled();
    return offset;
  };
  const original = await publish(post("ben"));
  for (let i = 0; i < 38; i++) await publish(post("ben"));
  const count = home.events.length;
  t.equal(count, 39);
  await publish({ op: "repost", user: "cleo", post: state.positions.id(original + 1) });
  await publish({ op: "repost", user: "cleo", post: state.positions.id(original) });
  t.equal(home.events.length, count, "the original is the 40th before its repost");
});

function postsOf(author: string, count: number): Command[] {
  return Array.from({ length: count }, () => post(author));
}

function onLookback(): void {
  throw new Error("nobody here follows many");
}

function fanOutOf({ state }: Store, interest: Interest): FanOut {
  const deliveries = new Deliveries(state);
  const home = new HomeReader(state);
  return new FanOut(
    { state, interest, deliveries, flusher: new Flusher(), home, onLookback, onForgotten() {} },
    state.applied(),
  );
}

function eventsOf({ sink }: Subscription): string {
  return (sink as Reader).events.join();
}

function streams({ state }: Store): Stream[] {
  const filter = {};
  return [
    ...users.flatMap((name): Stream[] => {
      const user = state.users.find(name)!;
      return [
        { kind: "home", reader: user, name: `home of ${name}`, filter },
        { kind: "mentions", reader: user, name: `mentions of ${name}`, filter },
        { kind: "user", user, name: `user:${name}`, filter },
      ];
    }),
    ...["a", "b"].map((tag): Stream => ({ kind: "tag", tag, name: `tag:${tag}`, filter })),
    ...Array.from({ length: 40 }, (_, i): Stream => ({
      kind: "thread",
      root: i + 1,
      name: `thread:${i + 1}`,
      filter,
    })),
    { kind: "firehose", name: "firehose", filter },
  ];
}

/** A reply is no root: no one can ask for its thread but under the root's name. */
function isReplysThread({ state }: Store, stream: Stream): boolean {
  const root = stream.kind === "thread" ? state.entry(stream.root) : undefined;
  return root?.kind === "post" && root.reply !== undefined;
}

type Drawn =
  | { op: "post"; user: string; mentions: string[]; tags: string[]; target: number | null }
  | { op: "repost" | "delete"; user: string; target: number }
  | { op: "follow" | "unfollow"; user: string; followee: string };

function commandOf({ state }: Store, drawn: Drawn): Command {
  const id = (offset: number): string => state.positions.cursor(users.length + offset);
  if (drawn.op === "post") {
    const { user, mentions, tags, target } = drawn;
    return post(user, { mentions, tags, ...(target === null ? {} : { replyTo: id(target) }) });
  }
  if ("followee" in drawn) return { op: drawn.op, user: drawn.user, target: drawn.followee };
  // Most deletes are to succeed, so they come from the author.
  const entry = state.entry(users.length + drawn.target);
  const by = drawn.op === "delete" && entry !== undefined ? state.users.handle(entry.author) : drawn.user;
  return { op: drawn.op, user: by, post: id(drawn.target) };
}
