/* What is done in steps, or off the log, for readers who follow thousands and posts that thousands reposted comes to the same as
 * for few. */

import tap, { type Test } from "tap";

import type { Command, Entry, Outcome, RepostEntry } from "../../broker/state/index.ts";
import { HomeReader } from "../../broker/streams/home.ts";
import { type Stream, Streams, Subscription } from "../../broker/streams/index.ts";
import { type Store, openStore, post } from "../state/store.ts";
import { Reader } from "./reader.ts";

const authors = Array.from({ length: 2_500 }, (_, i) => `a${i}`);

/** What one step may take more than it has, in look-ups: one part of the follows. */
const longest = 256;

/** Alice follows all authors. */
async function openMany(
  t: Test,
): Promise<{ store: Store; stream: Stream & { kind: "home" }; streams: () => Streams }> {
  const store = await openStore(t);
  await store.apply(["alice", ...authors, "other"].map((user) => ({ op: "user", user })));
  await store.apply(authors.map((target) => ({ op: "follow", user: "alice", target })));
  const reader = store.state.users.find("alice")!;
  return {
    store,
    stream: { kind: "home", name: "home", filter: {}, reader },
    streams: () => new Streams(store.state, { whenDurable: (_, done) => done(), onTooOld: () => {} }),
  };
}

await tap.test(
  "pages of a home that follows thousands hold what it follows, both ways, be it dense or sparse",
  async (t) => {
    const { store, stream, streams } = await openMany(t);
    const start = store.state.applied();
    const expected: number[] = [];
    const publish = async (by: string[]): Promise<void> => {
      for (const [i, { offset }] of (await store.apply(by.map((author) => post(author)))).entries())
        if (by[i] !== "other") expected.push(offset);
    };
    await publish(["a7", "other", "a2499", "a7"]);
    await store.apply(Array.from({ length: 6_000 }, () => ({ op: "user", user: "alice" })));
    await publish(authors.slice(0, 90).flatMap((author, i) => (i % 3 === 0 ? ["other", author] : [author])));
    await publish(["alice", "other"]);
    const read = async (place: { before?: number; after?: number }) =>
      (await streams().read({ stream, limit: 40, ...place })).result;

    const back: number[] = [];
    let before: number | undefined;
    do {
      const page = await read(before === undefined ? {} : { before });
      t.ok(page.items.length > 0 || page.before === undefined, "a page back is never empty on the way");
      back.unshift(...page.items.map(({ cursor }) => Number(cursor.split("-")[1])));
      before = page.before;
    } while (before !== undefined);
    t.same(back, expected);

    const forth: number[] = [];
    let after = start;
    while (after < store.state.applied()) {
      const page = await read({ after });
      t.ok(page.after > after, "a page forth goes on");
      forth.push(...page.items.map(({ cursor }) => Number(cursor.split("-")[1])));
      after = page.after;
    }
    t.same(forth, expected);
  },
);

await tap.test(
  "a repost of what a reader of thousands has just seen is hidden, and one of what they have not is shown",
  async (t) => {
    const { store, stream, streams } = await openMany(t);
    const [seen, unseen] = await store.apply([post("a1"), post("other")]);
    await store.apply([post("a2"), post("a3")]);
    const position = store.state.applied();
    const id = ({ offset }: Outcome): string => store.state.positions.id(offset);
    const [, shown] = await store.apply([
      { op: "repost", user: "a4", post: id(seen!) },
      { op: "repost", user: "a5", post: id(unseen!) },
    ]);
    const reader = new Reader();
    streams().open(new Subscription(1, stream, reader, position));
    await reader.live();
    t.same(reader.events, [`repost ${shown!.offset}`, `live ${shown!.offset}`]);
  },
);

await tap.test("to look back over the posts of thousands takes steps", async (t) => {
  const { store, stream } = await openMany(t);
  const [original] = await store.apply([post("a1")]);
  const [repost] = await store.apply([
    { op: "repost", user: "a4", post: store.state.positions.id(original!.offset) },
  ]);
  const { steps, work } = new HomeReader(store.state).lookback(stream, repost!.entry as RepostEntry);
  let found = steps.next();
  for (; found.done !== true; found = steps.next()) {
    t.ok(work.lookups > -longest, `${-work.lookups} look-ups too many in one step`);
    work.renew();
  }
  t.same(found.value, [original!.offset]);
  t.ok(work.steps > 4, `${work.steps} steps`);
});

for (const place of ["live", "catching up"] as const)
  await tap.test(
    `a repost that meets a reader of thousands ${place} is judged after a look back, in its place among the others`,
    async (t) => {
      const { store, stream, streams: open } = await openMany(t);
      await store.apply([
        { op: "user", user: "bob" },
        { op: "follow", user: "bob", target: "a2" },
      ]);
      const [seen, unseen] = await store.apply([post("a1"), post("other")]);
      const from = store.state.applied();
      const id = ({ offset }: Outcome): string => store.state.positions.id(offset);
      const commands: Command[] = [
        post("a3"),
        { op: "repost", user: "a4", post: id(seen!) },
        post("a2"),
        { op: "repost", user: "a5", post: id(unseen!) },
        { op: "repost", user: "a6", post: id(seen!) },
        post("a7"),
      ];
      const streams = open();
      const reader = new Reader();
      const other = new Reader();
      const bob = { ...stream, reader: store.state.users.find("bob")! };
      let published: Outcome[];
      if (place === "live") {
        for (const [each, sink] of [
          [stream, reader],
          [bob, other],
        ] as const) {
          streams.open(new Subscription(1, each, sink, from));
          await sink.live();
        }
        published = await store.apply(commands);
        streams.publish(
          published.map(({ entry }) => entry as Entry),
          published.at(-1)!.offset,
        );
        await streams.settled();
        t.ok(other.events.includes(`post ${published[2]!.offset}`), "others are not kept waiting");
        t.notOk(
          reader.events.includes(`post ${published[2]!.offset}`),
          "who looks back is given nothing before",
        );
      } else {
        published = await store.apply(commands);
        streams.publish(
          published.map(({ entry }) => entry as Entry),
          published.at(-1)!.offset,
        );
        streams.open(new Subscription(1, stream, reader, from));
      }
      const last = published.at(-1)!.offset;
      await reader.until(() => reader.events.includes(`live ${last}`));
      const [first, , third, fourth, , sixth] = published.map(({ offset }) => offset);
      t.same(
        reader.events.filter((event) => !event.startsWith("live")),
        [`post ${first}`, `post ${third}`, `repost ${fourth}`, `post ${sixth}`],
      );
    },
  );

await tap.test(
  "the delete of a post that thousands reposted reaches whoever follows one of them, live and later",
  async (t) => {
    const store = await openStore(t);
    const readers = ["first", "middle", "last", "nobody's"];
    await store.apply(["whale", ...authors, ...readers].map((user) => ({ op: "user", user })));
    const [posted] = await store.apply([post("whale")]);
    const id = store.state.positions.id(posted!.offset);
    await store.apply(authors.map((user): Command => ({ op: "repost", user, post: id })));
    await store.apply(
      [authors[0]!, authors[1_200]!, authors.at(-1)!].map((target, i) => ({
        op: "follow",
        user: readers[i]!,
        target,
      })),
    );
    const streams = new Streams(store.state, { whenDurable: (_, done) => done(), onTooOld: () => {} });
    const open = (user: string, position: number): Reader => {
      const reader = new Reader();
      const stream: Stream = {
        kind: "home",
        name: "home",
        filter: {},
        reader: store.state.users.find(user)!,
      };
      streams.open(new Subscription(1, stream, reader, position));
      return reader;
    };
    const before = streams.head;
    const live = readers.map((user) => open(user, before));
    await Promise.all(live.map((reader) => reader.live()));
    const [deleted] = await store.apply([{ op: "delete", user: "whale", post: id }]);
    streams.publish([deleted!.entry as Entry], deleted!.offset);
    await streams.settled();
    const told = `delete ${deleted!.offset}`;
    t.same(
      live.map(({ events }) => events.filter((event) => event.startsWith("delete"))),
      [[told], [told], [told], []],
    );
    const later = readers.map((user) => open(user, before));
    await Promise.all(later.map((reader) => reader.live()));
    t.same(
      later.map(({ events }) => events.filter((event) => event.startsWith("delete"))),
      [[told], [told], [told], []],
    );
  },
);
