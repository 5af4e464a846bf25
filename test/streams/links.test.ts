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
          for (let offset = descending.next(); offset !== undefined; offset = descending.next())
            back.push(offset);
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
