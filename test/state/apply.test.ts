/* Apply: what each command does to the store, and what it leaves alone. */

import * as fc from "fast-check";
import tap from "tap";

import {
  type Command,
  type Outcome,
  type Stamped,
  publishKeyLifeMs,
  unpackContent,
} from "../../broker/state/index.ts";
import { faultsOf } from "./consistency.ts";
import { type Store, openStore, post } from "./store.ts";

await tap.test(
  "a post is numbered by its offset and filed under author, mentions, tags and thread",
  async (t) => {
    const store = await openStore(t);
    const root = await store.one(
      post("alice", { text: "hi", mentions: ["Bob", "bob", "ALICE", "carol"], tags: ["Tag", "tAG"] }),
    );
    t.equal(root.answer, 1);
    const reply = await store.one(post("bob", { replyTo: id(store, 1) }));
    const answer = await store.one(post("alice", { replyTo: id(store, 2), data: { a: [1, null] } }));
    const [first, second, third] = [1, 2, 3].map((offset) => store.state.entry(offset));
    t.ok(first?.kind === "post" && second?.kind === "post" && third?.kind === "post");
    if (first?.kind !== "post" || second?.kind !== "post" || third?.kind !== "post") return;
    const { users } = store.state;
    t.same(unpackContent(first.packed), {
      text: "hi",
      mentions: [users.find("bob"), users.find("carol")],
      tags: ["Tag"],
    });
    t.equal(users.handle(users.find("BOB")!), "Bob");
    t.same(unpackContent(third.packed).data, { a: [1, null] });
    const alice = users.find("alice");
    const bob = users.find("bob");
    t.same(second.reply, { parent: 1, parentAuthor: alice, root: 1, rootAuthor: alice });
    t.same(third.reply, { parent: 2, parentAuthor: bob, root: 1, rootAuthor: alice });
    t.same([reply.offset, answer.offset], [2, 3]);
    t.same(faultsOf(store.state), []);
  },
);

await tap.test(
  "a publish repeated with its key is answered with the first, until the key's life is over",
  async (t) => {
    const store = await openStore(t);
    await store.one(post("alice", { key: "k" }), 1_000);
    const again = await store.one(post("alice", { key: "k", text: "other" }), 2_000);
    t.match(again, { offset: 2, answer: 1, entry: undefined });
    t.match(await store.one(post("bob", { key: "k" })), { answer: 3 }, "another author's key is another");
    t.match(await store.one(post("alice")), { answer: 4 }, "without a key each is a post");
    await store.reopen();
    t.match(await store.one(post("alice", { key: "k" }), 3_000), { answer: 1 });
    await store.one({ op: "trim", floor: 0, most: 10 }, 2_000 + publishKeyLifeMs);
    t.match(
      await store.one(post("alice", { key: "k" })),
      { answer: 1 },
      "kept for its whole life, and its chunk's",
    );
    await store.one({ op: "trim", floor: 0, most: 10 }, 2_001 + publishKeyLifeMs);
    t.match(await store.one(post("alice", { key: "k" })), { answer: 9 });
    t.same(faultsOf(store.state), []);
  },
);

await tap.test(
  "a retried reply is answered with the first, also when its parent is gone by now",
  async (t) => {
    const store = await openStore(t);
    await store.one(post("alice"));
    const parent = store.state.positions.id(1);
    const reply = post("bob", { key: "k", replyTo: parent });
    t.match(await store.one(reply), { answer: 2 });
    await store.one({ op: "delete", user: "alice", post: parent });
    t.match(await store.one(reply), { answer: 2, entry: undefined });
    const [refused] = await store.apply([post("bob", { key: "l", replyTo: parent })]);
    t.match(refused, { error: { code: "not_found" } });
    t.match(await store.one(post("bob", { key: "l" })), { answer: 6 }, "a refused post takes no key");
    t.same(faultsOf(store.state), []);
  },
);

await tap.test(
  "publish keys are removed oldest first, however they were batched, and none is left over",
  async (t) => {
    const store = await openStore(t);
    const sizes = [1, 300, 7, 255, 256, 1, 513, 67]; // transactions that end within, on and beyond the chunks of 256 offsets
    let number = 0;
    for (const [i, size] of sizes.entries()) {
      const posts = Array.from({ length: size }, () => post("alice", { key: `k${number++}` }));
      await store.apply(posts, 1_000 * (i + 1));
      if (i === 3) await store.reopen();
    }
    const keys = (): number => store.state.size().tables["publishKeys"]!.entries;
    t.equal(keys(), 1_400);
    const answers = await store.apply([post("alice", { key: "k0" }), post("alice", { key: "k1399" })]);
    t.same(
      answers.map(({ answer }) => answer),
      [1, 1_400],
    );
    await store.one({ op: "trim", floor: 0, most: 100 }, 1_000 * sizes.length + publishKeyLifeMs);
    t.ok(keys() < 1_400 && keys() > 1_000, `a step leaves ${keys()}`);
    t.ok(store.state.publishKeys.anyBefore(1_000 * sizes.length));
    await store.one({ op: "trim", floor: 0, most: 10_000 });
    t.match(
      await store.one(post("alice", { key: "k1399" })),
      { answer: 1_400 },
      "the youngest are of age, not older",
    );
    await store.one({ op: "trim", floor: 0, most: 10_000 }, 1_000 * sizes.length + publishKeyLifeMs + 1);
    t.equal(keys(), 0);
    t.equal(store.state.size().tables["publishKeysByChunk"]!.entries, 0);
    t.notOk(store.state.publishKeys.anyBefore(Number.MAX_SAFE_INTEGER));
  },
);

await tap.test("a user reposts a post once; a repost of a repost is of the original", async (t) => {
  const store = await openStore(t);
  await store.one(post("alice"));
  t.match(await store.one(repost(store, "bob", 1)), { answer: 2, entry: { kind: "repost", original: 1 } });
  t.match(await store.one(repost(store, "bob", 1)), { answer: 2, entry: undefined });
  t.match(await store.one(repost(store, "carol", 2)), { answer: 4, entry: { original: 1 } });
  t.match(await store.one(repost(store, "carol", 2)), { answer: 4, entry: undefined });
  await store.one(remove(store, "bob", 2));
  t.match(
    await store.one(repost(store, "bob", 1)),
    { answer: 7, entry: { original: 1 } },
    "withdrawn, then again",
  );
  t.same(faultsOf(store.state), []);
});

await tap.test(
  "only the author deletes, once; the text is gone from the store, the place among entries stays",
  async (t) => {
    const store = await openStore(t);
    await store.one(post("alice", { text: "secret", mentions: ["bob"], tags: ["tag"] }));
    await store.one(repost(store, "bob", 1));
    t.match(await refusal(store, remove(store, "bob", 1)), { code: "forbidden" });
    t.match(await refusal(store, remove(store, "nobody", 1)), { code: "forbidden" });
    t.equal(store.state.users.find("nobody"), undefined, "a refused command makes no user");
    const deleted = await store.one(remove(store, "ALICE", 1));
    t.match(deleted, {
      offset: 5,
      answer: 1,
      entry: { kind: "delete", target: 1, reposted: true, tags: ["tag"] },
    });
    t.match(await store.one(remove(store, "alice", 1)), { answer: 1, entry: undefined });
    const entry = store.state.entry(1);
    t.ok(entry?.kind === "post" && entry.deleted && entry.packed.length === 0);
    for (const command of [
      repost(store, "carol", 1),
      repost(store, "carol", 2),
      post("carol", { replyTo: id(store, 1) }),
    ]) {
      t.match(await refusal(store, command), { code: "not_found" });
    }
    t.same(faultsOf(store.state), []);
  },
);

await tap.test(
  "a follow begins at its offset; repeated it changes nothing; again after an unfollow it begins anew",
  async (t) => {
    const store = await openStore(t);
    const follow: Command = { op: "follow", user: "alice", target: "bob" };
    const unfollow: Command = { op: "unfollow", user: "alice", target: "bob" };
    t.match(await store.one(unfollow), { entry: undefined });
    t.equal(store.state.users.find("bob"), undefined, "what changes nothing makes no user");
    await store.one(follow);
    const since = (): number | undefined => {
      const { users, follows } = store.state;
      return follows.since(users.find("alice")!, users.find("bob")!);
    };
    t.equal(since(), 2);
    t.match(await store.one(follow), { entry: undefined });
    t.equal(since(), 2);
    await store.one(unfollow);
    t.equal(since(), undefined);
    await store.one(follow);
    t.equal(since(), 5);
    t.match(await refusal(store, { op: "follow", user: "alice", target: "ALICE" }), { code: "bad_request" });
    t.same(faultsOf(store.state), []);
  },
);

await tap.test(
  "a trim removes entries and postings in steps, keeps follows, and never goes back or past itself",
  async (t) => {
    const store = await openStore(t);
    await store.apply([
      { op: "follow", user: "bob", target: "alice" },
      post("alice", { mentions: ["bob"], tags: ["tag"] }),
      repost(store, "bob", 2),
      post("bob", { replyTo: id(store, 2) }),
      remove(store, "alice", 2),
    ]);
    await store.one({ op: "trim", floor: 3, most: 2 });
    t.equal(store.state.meta.floor, 2);
    t.same(faultsOf(store.state), []);
    await store.one({ op: "trim", floor: 1, most: 2 });
    t.equal(store.state.meta.floor, 2);
    await store.one({ op: "trim", floor: 1_000, most: 1_000 });
    t.equal(store.state.meta.floor, 7, "all but the trim itself");
    t.same([...store.state.entries(0, 100)], []);
    t.same(faultsOf(store.state), []);
    const { users, follows } = store.state;
    t.ok(follows.has(users.find("bob")!, users.find("alice")!));
  },
);

await tap.test(
  "a transaction that fails leaves tables, head and memory as they were, and the next succeeds",
  async (t) => {
    const store = await openStore(t);
    await store.one(post("alice"));
    const at = store.state.meta.lastAt;
    const faulty = {
      ...post("bob"),
      get mentions(): string[] {
        throw new Error("out of order");
      },
    };
    const { outcomes } = store.state.commit([
      { ...post("carol", { key: "k", tags: ["tag"] }), at },
      { op: "follow", user: "alice", target: "dave", at },
      Object.assign(faulty, { at }) as Stamped,
    ]);
    await t.rejects(outcomes, { message: "out of order" });
    t.equal(store.state.applied(), 1);
    for (const user of ["bob", "carol", "dave"]) t.equal(store.state.users.find(user), undefined);
    t.same(faultsOf(store.state), []);
    t.match(await store.one(post("dave", { key: "k" })), { answer: 2 });
    t.equal(store.state.users.find("dave"), 2, "numbers are not used up");
    t.same(faultsOf(store.state), []);
  },
);

await tap.test(
  "random commands leave a store in which all tables fit together, and the same commands make the same store",
  async (t) => {
    const users = ["ann", "Ben", "cleo", "DAN"];
    const user = fc.constantFrom(...users);
    const at = fc.nat({ max: 40 });
    const command = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          op: fc.constant("post" as const),
          user,
          text: fc.string(),
          mentions: fc.array(user),
          tags: fc.array(fc.constantFrom("a", "B", "b")),
          target: fc.option(at),
          key: fc.option(fc.constantFrom("k", "l")),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ op: fc.constantFrom("repost" as const, "delete" as const), user, target: at }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          op: fc.constantFrom("follow" as const, "unfollow" as const),
          user,
          followee: user,
        }),
      },
      { weight: 1, arbitrary: fc.record({ op: fc.constant("trim" as const), floor: at }) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(command, { minLength: 1, maxLength: 8 }), { maxLength: 8 }),
        async (batches) => {
          const folders = [await openStore(t), await openStore(t)] as const;
          const made = [
            await run(folders[0], batches),
            await run(
              folders[1],
              batches.flat().map((one) => [one]),
            ),
          ];
          t.same(made[0], made[1]);
          for (const { state } of folders) t.same(faultsOf(state), []);
        },
      ),
      { numRuns: 40 },
    );

    async function run(
      store: Store,
      batches: (typeof command extends fc.Arbitrary<infer C> ? C : never)[][],
    ): Promise<object[]> {
      const outcomes: Outcome[] = [];
      for (const batch of batches) {
        const commands = batch.map((one): Command => {
          switch (one.op) {
            case "post": {
              const { user: author, text, mentions, tags, target, key } = one;
              const said = post(author, { text, mentions, tags });
              if (target !== null) Object.assign(said, { replyTo: id(store, target) });
              return key === null ? said : Object.assign(said, { key });
            }
            case "trim":
              return { op: "trim", floor: one.floor, most: 5 };
            case "follow":
            case "unfollow":
              return { op: one.op, user: one.user, target: one.followee };
            default:
              return { op: one.op, user: one.user, post: id(store, one.target) };
          }
        });
        outcomes.push(...(await store.apply(commands, 1)));
      }
      return outcomes.map(({ offset, answer, entry, error }) => ({
        offset,
        answer,
        entry,
        code: error?.code,
      }));
    }
  },
);

await tap.test(
  "a user can be named as soon as they can be found, also while they are being committed",
  async (t) => {
    const { state } = await openStore(t);
    for (let i = 0; i < 20; i++) {
      const user = `user${i}`;
      const batch = Array.from({ length: 100 }, () => ({ ...post(user, { mentions: [user] }), at: 1 }));
      const { outcomes, flushed } = state.commit(batch);
      let number: number | undefined;
      while ((number = state.users.find(user)) === undefined) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      t.equal(state.users.handle(number), user);
      await outcomes;
      await flushed;
    }
  },
);

function id({ state }: Store, offset: number): string {
  return state.positions.cursor(offset);
}

function repost(store: Store, user: string, offset: number): Command {
  return { op: "repost", user, post: id(store, offset) };
}

function remove(store: Store, user: string, offset: number): Command {
  return { op: "delete", user, post: id(store, offset) };
}

async function refusal(store: Store, command: Command): Promise<unknown> {
  const before = store.state.size().tables;
  const [outcome] = await store.apply([command]);
  const after = store.state.size().tables;
  if (JSON.stringify(before) !== JSON.stringify(after)) return { code: "it wrote something" };
  return outcome!.error;
}
