/* Flusher: who is written first, and that everyone is. */

import tap from "tap";

import { Flusher } from "../../broker/streams/index.ts";
import { Reader } from "./reader.ts";

/** Notes in `written` whenever it is written to, and takes `ms` for it. */
function sink(name: string, written: string[], ms = 0): Reader {
  const reader = new Reader();
  reader.flush = () => {
    written.push(name);
    const end = performance.now() + ms;
    while (performance.now() < end);
  };
  return reader;
}

async function settled(written: string[], count: number): Promise<void> {
  while (written.length < count) await new Promise((resolve) => setImmediate(resolve));
}

await tap.test("what is for few goes before the rest of what is for many", async (t) => {
  const flusher = new Flusher();
  const written: string[] = [];
  // 1,000 × 0.2 ms: some forty slices.
  const crowd = Array.from({ length: 1_000 }, () => sink("crowd", written, 0.2));
  flusher.inBulk(() => {
    for (const one of crowd) flusher.mark(one);
  });
  flusher.flush();
  const before = written.length;
  t.ok(before > 0 && before < 500, `${before} in the first slice`);
  flusher.mark(sink("few", written));
  flusher.flush();
  t.equal(written[before], "few");
  await settled(written, 1_001);
  t.equal(written.filter((name) => name === "crowd").length, 1_000, "each once");
});

await tap.test("a sink in both lanes is written in the first of its turns, and once", async (t) => {
  const flusher = new Flusher();
  const written: string[] = [];
  const crowd = Array.from({ length: 100 }, (_, i) => sink(`crowd ${i}`, written, 0.2));
  flusher.inBulk(() => {
    for (const one of crowd) flusher.mark(one);
  });
  flusher.mark(crowd[99]!);
  await settled(written, 100);
  t.equal(written[0], "crowd 99");
  t.equal(new Set(written).size, 100);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(written.length, 100);
  flusher.inBulk(() => flusher.mark(crowd[99]!));
  await settled(written, 101);
  t.equal(written[100], "crowd 99", "marked anew it has a turn anew");
});

await tap.test("what is for few, however much, does not keep the rest from its turns", async (t) => {
  const flusher = new Flusher();
  const written: string[] = [];
  const crowd = Array.from({ length: 100 }, () => sink("crowd", written, 0.5));
  flusher.inBulk(() => {
    for (const one of crowd) flusher.mark(one);
  });
  let few = 0;
  while (written.filter((name) => name === "crowd").length < 100 && few < 100_000) {
    for (let i = 0; i < 20; i++) flusher.mark(sink("few", written, 0.5)); // more than a slice holds
    few += 20;
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal(written.filter((name) => name === "crowd").length, 100);
});

await tap.test(
  "crowds are to wait once they gathered much since their turn, and no longer than until it",
  async (t) => {
    const flusher = new Flusher();
    const written: string[] = [];
    const crowd = Array.from({ length: 200 }, () => sink("crowd", written, 0.2));
    const offer = (): void =>
      flusher.inBulk(() => {
        flusher.gather(100_000);
        for (const one of crowd) flusher.mark(one);
      });
    offer();
    t.equal(flusher.isBehind, false);
    offer();
    offer();
    t.equal(flusher.isBehind, true);
    flusher.flush();
    t.equal(flusher.isBehind, true, "some still wait for their turn");
    await settled(written, 200);
    t.equal(flusher.isBehind, false);
    offer();
    t.equal(flusher.isBehind, false, "counted anew");
    await settled(written, 400);
  },
);
