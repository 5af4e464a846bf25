/* Versions: who has what, whatever gets lost. */

import fc from "fast-check";
import tap, { type Test } from "tap";

import { type Numbers, type Run, Versions } from "../../broker/cluster/versions.ts";

await tap.test(
  "what follows on what is had is had; what comes after a gap is not, until the gap is filled",
  async (t) => {
    const versions = new Versions("own");
    versions.update("a", 1, 0);
    t.ok(versions.lacks({ a: 0 }), "what it began with was never heard");
    versions.cover({ a: 0 }, 0);
    t.notOk(versions.lacks({ a: 1 }));
    versions.update("a", 3, 0);
    t.notOk(versions.lacks({ a: 1 }));
    t.ok(versions.lacks({ a: 2 }));
    versions.update("a", 4, 0);
    versions.update("a", 1, 0);
    versions.cover({ a: 2 }, 0);
    t.notOk(versions.lacks({ a: 4 }));
    t.ok(versions.lacks({ a: 5 }));
    t.ok(versions.lacks({ b: 0 }));
    t.notOk(versions.lacks({ own: 7 }), "of its own it lacks nothing, whatever others have of it");
  },
);

await tap.test(
  "others are told of runs heard lately; those that nobody tells of are forgotten",
  async (t) => {
    const versions = new Versions("own");
    versions.cover({ a: 1, b: 2 }, 100);
    versions.alive("a", 100);
    t.same(versions.had(100), { a: 1 }, "b is known by hearsay");
    t.same(versions.had(101), {});
    versions.keep({ b: 2, c: 3 }, 200);
    versions.forget(150);
    t.ok(versions.lacks({ a: 1 }));
    t.notOk(versions.lacks({ b: 2 }));
  },
);

/** Nodes that hear each other's updates or not, and fetch from each other. What a node really has stands beside what it believes. */
class Node {
  readonly versions: Versions;
  readonly has = new Set<string>();
  number = 0;
  readonly run: Run;

  constructor(run: Run) {
    this.run = run;
    this.versions = new Versions(run);
    this.has.add(`${run} 0`);
  }

  get standing(): Numbers {
    return { ...this.versions.had(0), [this.run]: this.number };
  }

  hear(run: Run, number: number): void {
    this.has.add(`${run} ${number}`);
    this.versions.update(run, number, 0);
  }

  fetch(from: Node): void {
    for (const one of from.has) this.has.add(one);
    this.versions.cover(from.standing, 0);
    this.versions.alive(from.run, 0);
  }

  /** It believes to have an update only if it has. */
  checkBelief(t: Test): void {
    for (const [run, number] of Object.entries(this.standing))
      for (let i = 0; i <= number; i++)
        if (!this.has.has(`${run} ${i}`)) t.fail(`${this.run} believes to have update ${i} of ${run}`);
  }
}

const step = fc.record({
  from: fc.nat(2),
  what: fc.constantFrom("update", "update", "update", "fetch"),
  /** Which of the two others hear it, or which one fetches. */
  reach: fc.tuple(fc.boolean(), fc.boolean()),
});

await tap.test(
  "whatever is lost, no node believes to have what it has not, and fetching from those ahead gives it all",
  async (t) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const nodes = ["a", "b", "c"].map((run) => new Node(run));
        for (const { from, what, reach } of steps) {
          const node = nodes[from]!;
          const others = nodes.filter((one) => one !== node);
          if (what === "update") node.has.add(`${node.run} ${++node.number}`);
          others.forEach((other, i) => {
            if (!reach[i]!) return;
            if (what === "update") other.hear(node.run, node.number);
            else other.fetch(node);
          });
          for (const one of nodes) one.checkBelief(t);
        }
        for (const node of nodes)
          for (const other of nodes)
            if (node !== other && node.versions.lacks(other.standing)) node.fetch(other);
        const all = new Set(nodes.flatMap((node) => [...node.has]));
        for (const node of nodes) t.same(node.has.size, all.size, `${node.run} has all`);
      }),
    );
  },
);
