/* Follows: a user follows so many at most, however these came to be; the count is that of the table. */

import tap from "tap";

import { digestStore } from "../../broker/state/digest.ts";
import { State } from "../../broker/state/index.ts";
import { Environment } from "../../broker/state/environment.ts";
import { limits } from "../../protocol/index.ts";
import { SessionBroker } from "../sessions/session-broker.ts";
import { faultsOf } from "./consistency.ts";
import { openStore } from "./store.ts";

const follow = (target: string, most?: number) =>
  ({ op: "follow", user: "alice", target, ...(most === undefined ? {} : { most }) }) as const;
const unfollow = (target: string) => ({ op: "unfollow", user: "alice", target }) as const;

await tap.test(
  "who follows as many as may be is refused, and may follow again after an unfollow",
  async (t) => {
    const store = await openStore(t);
    const { state } = store;
    const outcomes = await store.apply([
      ...["a", "b", "c"].map((target) => follow(target, 3)),
      follow("d", 3),
      follow("b", 3), // followed already: changes nothing, and is not refused
      unfollow("b"),
      unfollow("b"),
      follow("d", 3),
      follow("e", 3),
    ]);
    t.same(
      outcomes.map(({ error }) => error?.code),
      [undefined, undefined, undefined, "conflict", undefined, undefined, undefined, undefined, "conflict"],
    );
    t.match(outcomes[3]!.error, { message: /3 users; the limit is 3.*unfollow/, details: { field: "user" } });
    const alice = state.users.find("alice")!;
    t.equal(state.follows.count(alice), 3);
    t.same(
      state.follows.list(alice).targets.map((user) => state.users.handle(user)),
      ["a", "c", "d"],
    );
    t.equal(state.users.find("e"), undefined, "what is refused makes no user");
    t.same(faultsOf(state), []);
  },
);

await tap.test("commands from before there was a limit are applied as they were", async (t) => {
  const store = await openStore(t);
  const { state } = store;
  const outcomes = await store.apply(["a", "b", "c", "d"].map((target) => follow(target)));
  t.same(
    outcomes.filter(({ error }) => error !== undefined),
    [],
  );
  t.equal((await store.apply([follow("e", 3)]))[0]!.error?.code, "conflict", "over the limit already");
  t.equal(state.follows.count(state.users.find("alice")!), 4);
});

await tap.test("a transaction that is undone leaves the count as it was", async (t) => {
  const store = await openStore(t);
  const { state } = store;
  await store.apply([follow("a")]);
  const faulty = { op: "post", user: "alice", text: "", mentions: undefined, tags: [] };
  await t.rejects(store.apply([follow("b"), unfollow("a"), faulty as never]));
  t.equal(state.follows.count(state.users.find("alice")!), 1);
  await store.apply([unfollow("a")]);
  t.equal(state.follows.count(state.users.find("alice")!), 0);
  t.same(faultsOf(state), []);
});

await tap.test("a store from before there were counts is counted when that is needed", async (t) => {
  const store = await openStore(t);
  await store.apply([follow("a"), follow("b"), { op: "follow", user: "bob", target: "a" }]);
  const digest = await digestStore(store.folder);
  await store.state.close();
  const environment = new Environment(store.folder);
  await environment.tables.followCounts.clearAsync();
  await environment.close();
  t.same(await digestStore(store.folder), digest, "the same to other nodes, with counts or without");
  store.state = await State.open(store.folder);
  const alice = store.state.users.find("alice")!;
  t.equal(store.state.follows.count(alice), 2);
  t.equal((await store.apply([follow("c", 2)]))[0]!.error?.code, "conflict");
  await store.apply([unfollow("a"), follow("c", 2)]);
  t.equal(store.state.follows.count(alice), 2);
  t.same(faultsOf(store.state), []);
});

await tap.test("clients meet the limit that they were told", async (t) => {
  const broker = await SessionBroker.for(t);
  const alice = await broker.connect("alice");
  const { limits: told } = (await alice.request("hello")) as { limits: Record<string, number> };
  t.equal(told["follows"], limits.follows);
  t.equal(limits.follows, 200_000);
  // As many as may be, in the store; then one more as a client asks for it.
  for (let i = 0; i < limits.follows; i += 20_000) {
    const commands = Array.from({ length: 20_000 }, (_, j) => ({ ...follow(`u${i + j}`), at: 1 }));
    const { outcomes, flushed } = broker.state.commit(commands);
    await outcomes;
    await flushed;
  }
  await t.rejects(alice.request("follow", { user: "onemore" }), { code: "conflict" });
  await alice.request("unfollow", { user: "u7" });
  t.same(await alice.request("follow", { user: "onemore" }), { state: "following" });
});
