/* What an answer of the predicate costs: it is asked for each entry and reader. */

import tap from "tap";

import type { DeleteEntry, State } from "../../broker/state/index.ts";
import { concerns } from "../../broker/streams/predicate.ts";
import type { Stream } from "../../broker/streams/index.ts";
import { openStore, post } from "../state/store.ts";

await tap.test("the delete of a post that thousands reposted costs a reader what they follow", async (t) => {
  const store = await openStore(t);
  await store.one(post("whale"));
  const whale = store.state.positions.id(1);
  const reposters = Array.from({ length: 3_000 }, (_, i) => `user${i}`);
  await store.apply(reposters.map((user) => ({ op: "repost", user, post: whale })));
  await store.apply([
    { op: "follow", user: "alice", target: "user2999" },
    { op: "follow", user: "alice", target: "nobody" },
    { op: "follow", user: "bob", target: "nobody" },
  ]);
  const deleted = (await store.one({ op: "delete", user: "whale", post: whale })).entry as DeleteEntry;
  for (const [user, isConcerned] of [
    ["alice", true],
    ["bob", false],
    ["user7", true],
    ["nobody", false],
  ] as const) {
    const counted = countingReads(store.state);
    const stream: Stream = { kind: "home", name: "home", filter: {}, reader: store.state.users.find(user)! };
    t.equal(concerns(counted.state, stream, deleted), isConcerned, user);
    t.ok(counted.reads < 10, `${user}: ${counted.reads} reads`);
  }
});

/** A state that counts the relations and reposts that are looked up one by one. */
function countingReads(real: State): { state: State; reads: number } {
  const counted = {
    reads: 0,
    state: Object.create(real, {
      follows: {
        value: {
          has: (follower: number, target: number) => (counted.reads++, real.follows.has(follower, target)),
          list: real.follows.list.bind(real.follows),
        },
      },
      reposts: {
        value: {
          find: (original: number, user: number) => (counted.reads++, real.reposts.find(original, user)),
          reposters: real.reposts.reposters.bind(real.reposts),
        },
      },
    }) as State,
  };
  return counted;
}
