/* Who follows whom, from interactions. */

import { test } from "tap";

import { InteractionGraph } from "../../clients/cli/replay/graph.ts";
import type { InteractionKind } from "../../clients/cli/replay/interactions.ts";

function graphOf(...interactions: [string, string, InteractionKind][]): InteractionGraph {
  const graph = new InteractionGraph();
  for (const [actor, target, kind] of interactions) graph.add({ actor, target, kind, atSeconds: 0 });
  return graph;
}

void test("whoever reposted, mentioned or answered another follows them once; nobody follows themself", async (t) => {
  const graph = graphOf(
    ["a", "b", "RT"],
    ["a", "b", "MT"],
    ["a", "c", "RE"],
    ["b", "a", "MT"],
    ["d", "d", "RT"],
  );
  const named = [...graph.follows()].map(
    (f) => `${graph.handleOf(f.follower)}>${graph.handleOf(f.followed)}`,
  );
  t.same(named, ["a>b", "a>c", "b>a"]);
  t.equal(graph.followCount, 3);
  t.equal(graph.userCount, 4);
  t.equal(graph.interactions, 5);
});

void test("two spellings of a handle are one user", async (t) => {
  const graph = graphOf(["Alice", "bob", "RT"], ["alice", "BOB", "RT"]);
  t.equal(graph.userCount, 2);
  t.equal(graph.followCount, 1);
  t.equal(graph.numberOf("ALICE"), graph.numberOf("alice"));
});

void test("the readers asked for get whom they follow", async (t) => {
  const graph = graphOf(["a", "b", "RT"], ["a", "c", "RT"], ["b", "c", "RT"]);
  const [a, b, c] = ["a", "b", "c"].map((handle) => graph.numberOf(handle));
  const followed = graph.followedBy([a!, c!]);
  t.same(followed.get(a!), new Set([b, c]));
  t.same(followed.get(c!), new Set());
  t.equal(followed.has(b!), false);
});

void test("the most mentioned come first, by mentions of others alone", async (t) => {
  const graph = graphOf(
    ["a", "b", "MT"],
    ["c", "d", "MT"],
    ["a", "d", "MT"],
    ["e", "e", "MT"],
    ["e", "e", "MT"],
    ["e", "e", "MT"],
    ["b", "a", "RT"],
  );
  t.same(
    graph.mostMentioned(10).map((user) => graph.handleOf(user)),
    ["d", "b"],
  );
  t.same(
    graph.mostMentioned(1).map((user) => graph.handleOf(user)),
    ["d"],
  );
});
