/* The graph generator: the shape it promises, and the same again for the same seed. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import tap from "tap";

import { type Graph, generateGraph } from "../../bench/graph/generate.ts";
import { readGraph } from "../../bench/graph/read.ts";

const options = {
  users: 5_000,
  meanFollowers: 40,
  whales: [1_000_000, 2_000],
  heavyReaders: [3_000, 500],
  seed: 1,
};

function followsOf({ offsets, follows }: Graph, user: number): Uint32Array {
  return follows.subarray(offsets[user], offsets[user + 1]);
}

/** Without the runner's own comparison, which takes minutes over so many numbers. */
function isSame(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

for (const seed of [1, 2, 3]) {
  await tap.test(`seed ${seed}: median 1, mean 40, whales and heavy readers as planted`, async (t) => {
    const graph = generateGraph({ ...options, seed });
    const { users, followers, follows } = graph;
    t.equal(followers.toSorted()[users >> 1], 1, "the median user has one follower");
    t.ok(Math.abs(follows.length / users - 40) < 0.5, `mean ${follows.length / users}`);
    t.equal(followers[0], users - 1, "a whale larger than the sea has everybody");
    t.equal(followers[1], 2_000);
    t.equal(followsOf(graph, users - 2).length >= 500, true, "a heavy reader follows as many as planted");
    t.ok(followsOf(graph, users - 1).length > users / 3, "or all whose followers leave room");

    const counted = new Uint32Array(users);
    for (let user = 0; user < users; user++) {
      const row = followsOf(graph, user);
      if (new Set(row).size !== row.length) t.fail(`user ${user} follows someone twice`);
      if (row.includes(user)) t.fail(`user ${user} follows itself`);
      for (const followed of row) counted[followed]!++;
    }
    t.ok(isSame(counted, followers), "the counts are those of the follows");
  });
}

await tap.test("the same seed makes the same graph, another one another", async (t) => {
  const [graph, again, other] = [options, options, { ...options, seed: 2 }].map(generateGraph);
  t.ok(isSame(graph!.offsets, again!.offsets) && isSame(graph!.follows, again!.follows));
  t.notOk(isSame(graph!.follows, other!.follows));
});

await tap.test("few users are enough", async (t) => {
  for (const users of [100, 101]) {
    const graph = generateGraph({ ...options, users });
    t.equal(graph.offsets.at(-1), graph.follows.length);
    t.equal(graph.followers[0], users - 1);
  }
});

await tap.test("a file of follows, and one of interactions", async (t) => {
  const folder = t.testdir({});
  const edges = join(folder, "edges.txt.gz");
  writeFileSync(edges, gzipSync("\ufeff# a comment\r\na b\na c\nb c\na b\n\nc c\n"));
  const read = await readGraph(edges);
  t.strictSame(
    {
      users: read.users,
      offsets: [...read.offsets],
      follows: [...read.follows],
      followers: [...read.followers],
    },
    { users: 3, offsets: [0, 2, 3, 3], follows: [1, 2, 2], followers: [0, 1, 2] },
    "each follow once, nobody itself",
  );
  t.equal(read.activity, undefined);

  const interactions = join(folder, "interactions.txt");
  writeFileSync(interactions, "x y 10 RT\nx y 11 MT\ny z 12 RE\n");
  const active = await readGraph(interactions);
  t.strictSame([...active.activity!], [2, 1, 0], "who does more is more active");

  writeFileSync(interactions, "x y 10 RT\nx y 11 XX\n");
  await t.rejects(readGraph(interactions), { code: "bad_file", message: /line 2: / });
});
