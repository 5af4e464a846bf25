import tap from "tap";

import { type Writers, judge, maxWriters, noted } from "../../broker/cluster/writers.ts";

const batch = (generation: number, number: number, writer = "w") => ({ writer, generation, number });

await tap.test("a writer's batches count one after the other, each once", (t) => {
  let writers: Writers = {};
  t.equal(judge(writers, batch(1, 2)), "stranger");
  t.equal(judge(writers, batch(1, 1)), "counts");
  writers = noted(writers, batch(1, 1), 10);
  t.equal(judge(writers, batch(1, 1)), "again");
  t.equal(judge(writers, batch(1, 3)), "gap");
  t.equal(judge(writers, batch(1, 2)), "counts");
  t.equal(judge(writers, batch(1, 1, "other")), "counts", "each by itself");
  t.end();
});

await tap.test("once one of a higher generation counted, none of a lower one does", (t) => {
  let writers = noted({}, batch(1, 5), 10);
  t.equal(judge(writers, batch(2, 2)), "gap");
  t.equal(judge(writers, batch(1, 6)), "counts");
  t.equal(judge(writers, batch(3, 1)), "counts", "generations may be left out");
  writers = noted(writers, batch(3, 1), 11);
  t.equal(judge(writers, batch(1, 6)), "again");
  t.equal(judge(writers, batch(2, 1)), "again");
  t.equal(judge(writers, batch(3, 2)), "counts");
  t.end();
});

await tap.test("the one that was silent longest is forgotten for a new one", (t) => {
  let writers: Writers = {};
  for (let i = 0; i < maxWriters; i++) writers = noted(writers, batch(1, 1, `w${i}`), i + 1);
  writers = noted(writers, batch(1, 2, "w0"), 1_000);
  writers = noted(writers, batch(1, 1, "new"), 1_001);
  t.equal(Object.keys(writers).length, maxWriters);
  t.equal(judge(writers, batch(1, 3, "w0")), "counts");
  t.equal(judge(writers, batch(1, 2, "w1")), "stranger");
  t.equal(judge(writers, batch(1, 2, "new")), "counts");
  t.end();
});
