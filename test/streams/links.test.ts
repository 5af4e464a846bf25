/* Links, merges and the recent 40, against the dumbest thing that could be right. */

import * as fc from "fast-check";
import tap from "tap";

import { Links, type Node } from "../../broker/streams/links.ts";
import { MergeAfter, MergeBefore } from "../../broker/streams/merge.ts";
import { Recent, recentCount } from "../../broker/streams/recent.ts";
import { tagTopic } from "../../broker/state/index.ts";
import { openStore, post } from "../state/store.ts";

await tap.test("links hold what a map of sets holds, through making, cutting, releasing and reuse", (t) => {
  const step = fc.record({
    kind: fc.constantFrom("create", "link", "link", "link", "link", "cut", "release"),
    a: fc.nat(),
    b: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
      const links = new Links();
      const sets = new Map<Node, Set<Node>>();
      const pick = (number: number): Node | undefined => [...sets.keys()][number % Math.max(1, sets.size)];
      for (const { kind, a, b } of steps) {
        const [one, other] = [pick(a), pick(b)];
        if (kind === "create" || one === undefined || other === undefined) {
          const node = links.create();
          if (node === 0 || sets.has(node)) throw new Error(`node ${node} is in use`);
          sets.set(node, new Set());
        } else if (kind === "link") {
          if (one === other || sets.get(one)!.has(other)) continue;
          links.link(one, other);
          sets.get(one)!.add(other);
          sets.get(other)!.add(one);
        } else if (kind === "cut") {
          const index = links.find(one, other);
          if (index >= 0 !== sets.get(one)!.has(other)) throw new Error(`${one}–${other} found at ${index}`);
          if (index < 0) continue;
          links.cut(one, index);
          sets.get(one)!.delete(other);
          sets.get(other)!.delete(one);
        } else {
          links.release(one);
          for (const peer of sets.get(one)!) sets.get(peer)!.delete(one);
          sets.delete(one);
        }
        for (const [node, peers] of sets) {
          const held = Array.from({ length: links.degree(node) }, (_, index) => links.peer(node, index));
          if (held.sort((x, y) => x - y).join() !== [...peers].sort((x, y) => x - y).join()) {
            throw new Error(`${node} holds ${held.join()}, not ${[...peers].join()}`);
          }
        }
      }
    }),
    { numRuns: 150 },
  );
  t.pass();
  t.end();
});

await tap.test(
  "long lists keep their links while they grow and shrink, past a segment's end and back",
  (t) => {
    const links = new Links();
    const hubs = Array.from({ length: 130 }, () => links.create());
    const leaves = Array.from({ length: 4_000 }, () => links.create());
    const held = new Map<Node, Set<Node>>([...hubs, ...leaves].map((node) => [node, new Set()]));
    const link = (hub: Node, leaf: Node): void => {
      links.link(hub, leaf);
      held.get(hub)!.add(leaf);
      held.get(leaf)!.add(hub);
    };
    const cut = (node: Node, index: number): void => {
      const peer = links.peer(node, index);
      links.cut(node, index);
      held.get(node)!.delete(peer);
      held.get(peer)!.delete(node);
    };
    const check = (): void => {
      for (const [node, peers] of held) {
        const got = new Set(
          Array.from({ length: links.degree(node) }, (_, index) => links.peer(node, index)),
        );
        const isHeld = links.degree(node) === peers.size && [...peers].every((peer) => got.has(peer));
        if (!isHeld) throw new Error(`${node} holds ${[...got].join()}, not ${[...peers].join()}`);
      }
    };
    const empty = links.bytes;
    for (const leaf of leaves) for (const hub of hubs) link(hub, leaf);
    check();
    const full = links.bytes;
    t.ok(full > 2 * empty, "they take several segments");
    const count = hubs.length * leaves.length;
    t.ok(full - empty < 19 * count, `${(full - empty) / count} bytes a link`);
    // Every hub shrinks to another length, from nothing to all, and half of the leaves lose what is left.
    const order = fc.sample(fc.nat(), { numRuns: count, seed: 3 });
    for (const [i, hub] of hubs.entries()) {
      const kept = Math.floor((leaves.length * i) / (hubs.length - 1));
      while (links.degree(hub) > kept) cut(hub, order.pop()! % links.degree(hub));
    }
    check();
    for (const leaf of leaves.slice(0, 2_000)) {
      for (const hub of held.get(leaf)!) held.get(hub)!.delete(leaf);
      held.delete(leaf);
      links.release(leaf);
    }
    check();
    for (let i = 0; i < 2_000; i++) {
      const leaf = links.create();
      held.set(leaf, new Set());
      for (const hub of hubs) link(hub, leaf);
    }
    for (const leaf of leaves.slice(2_000)) {
      for (const hub of hubs) if (!held.get(hub)!.has(leaf)) link(hub, leaf);
    }
    check();
    t.equal(links.bytes, full, "what was given back is used again");
    t.end();
  },
);

await tap.test(
  "merges give the sorted union of their topics, from bounds anywhere, in both directions",
  async (t) => {
    const store = await openStore(t);
    const tags = ["a", "b", "c", "d", "e"];
    const chosen = fc.sample(fc.subarray(tags), { numRuns: 300, seed: 1 });
    await store.apply(chosen.map((some) => post("alice", { tags: some })));
    const { state } = store;
    fc.assert(
      fc.property(
        fc.subarray(tags),
        fc.nat(310),
        fc.nat(310),
        fc.integer({ min: 1, max: 9 }),
        (some, one, other, lookups) => {
          const [after, upTo] = [Math.min(one, other), Math.max(one, other)];
          const sources = (bound: number): { topic: Buffer; bound: number }[] =>
            some.map((tag) => ({ topic: tagTopic(tag), bound }));
          const wanted = chosen.flatMap((with_, i) =>
            some.filter((tag) => with_.includes(tag)).map(() => i + 1),
          );
          const forth: number[] = [];
          const ascending = new MergeAfter(state, sources(after), upTo);
          for (;;) {
            const offset = ascending.next({ lookups });
            if (offset === undefined) break;
            if (offset !== "paused") forth.push(offset);
          }
          const back: number[] = [];
          const descending = new MergeBefore(state, sources(upTo));
          for (;;) {
            const offset = descending.next({ lookups });
            if (offset === undefined) break;
            if (offset !== "paused") back.push(offset);
          }
          isSame(
            forth,
            wanted.filter((offset) => offset > after && offset <= upTo),
          );
          isSame(back, wanted.filter((offset) => offset < upTo).toReversed());
        },
      ),
      { numRuns: 200 },
    );
  },
);

await tap.test(
  "a merge of thousands of topics is begun in steps as well, and gives the same, in order",
  async (t) => {
    const store = await openStore(t);
    const authors = Array.from({ length: 5_000 }, (_, i) => `a${(i * 1_237) % 5_000}`);
    const posted = await store.apply(authors.map((author) => post(author)));
    const expected = posted.map(({ offset }) => offset);
    const upTo = store.state.applied();
    const sources = posted.map(({ offset, entry }) => ({ topic: entry!.author, bound: offset - 1 }));
    const shuffled = sources.toSorted((a, b) => (a.topic % 71) - (b.topic % 71));
    for (const lookups of [100, 7]) {
      const merge = new MergeAfter(
        store.state,
        shuffled.map((source) => ({ ...source })),
        upTo,
      );
      const got: number[] = [];
      let turnsBefore = 0;
      for (let next = merge.next({ lookups }); next !== undefined; next = merge.next({ lookups })) {
        if (next !== "paused") got.push(next);
        else if (got.length === 0) turnsBefore++;
      }
      t.same(got, expected);
      t.ok(turnsBefore >= sources.length / (20 * lookups), `${turnsBefore} turns of ${lookups} look-ups`);
    }
    const whole = new MergeAfter(store.state, shuffled, upTo);
    t.equal(
      whole.next({ lookups: Number.MAX_SAFE_INTEGER }),
      expected[0],
      "who has no budget waits for no turn",
    );
  },
);

await tap.test("a recent knows the last 40 noted, and after priming what came before the first note", (t) => {
  const originals = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 90, size: "max" });
  fc.assert(
    fc.property(originals, originals, fc.option(originals), (first, then, primed) => {
      const recent = new Recent();
      const noted: number[] = [];
      const note = (some: number[]): void => {
        for (const one of some) {
          recent.note(one);
          noted.push(one);
        }
      };
      note(first);
      if (primed !== null) {
        recent.prime(primed);
        noted.splice(0, Infinity, ...primed.slice(0, recentCount).toReversed());
      }
      note(then);
      for (let one = 0; one <= 60; one++) {
        if (recent.has(one) !== noted.slice(-recentCount).includes(one))
          throw new Error(`${one} of ${noted.join()}`);
      }
      if (recent.primed !== (primed !== null || noted.length >= recentCount))
        throw new Error("primed is wrong");
    }),
  );
  t.pass();
  t.end();
});

function isSame(got: number[], expected: number[]): void {
  if (got.join() !== expected.join()) throw new Error(`${got.join()}, expected ${expected.join()}`);
}
