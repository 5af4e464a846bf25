/* What time a command of the cluster's log gets, whichever clock is wrong. */

import tap from "tap";

import { timeOf } from "../../broker/cluster/times.ts";

const minute = 60_000;
const year = 365 * 86_400_000;
const now = Date.UTC(2026, 10, 28);

await tap.test("clocks that agree: the writer's time, and never back", async (t) => {
  t.equal(timeOf(now, now + 20, now - 1_000), now);
  t.equal(timeOf(now, now + 20, now + 5), now + 5, "another writer's clock is a little ahead");
  t.equal(timeOf(now - 10_000, now, now), now, "a command that waited to be stored");
});

await tap.test("a writer's clock that is wrong moves the log's time by minutes at most", async (t) => {
  t.equal(timeOf(now + year, now, now - minute), now + 5 * minute);
  t.equal(timeOf(now, now + 1_000, now + 5 * minute), now + 5 * minute, "and others' commands wait for it");
  t.equal(timeOf(now - year, now, now - minute), now - minute);
});

await tap.test("nor does that of NATS", async (t) => {
  t.equal(timeOf(now, now + year, now - minute), now);
  t.equal(timeOf(now, now - year, now - minute), now - minute);
});

await tap.test("a time that both are behind of was wrong, and goes back", async (t) => {
  t.equal(timeOf(now, now + 20, now + year), now);
  t.equal(timeOf(now + year, now, now + 2 * year), now + 5 * minute);
  t.equal(timeOf(now, now, now + 4 * minute), now + 4 * minute, "not for a few minutes");
});
