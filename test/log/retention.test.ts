/* What retention removes, and that it comes to rest. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tap, { type Test } from "tap";

import { LocalLog } from "../../broker/log/local.ts";
import { Retention, type RetentionPolicy } from "../../broker/log/retention.ts";
import { type Command, State } from "../../broker/state/index.ts";

interface Parts {
  state: State;
  log: LocalLog;
  retention: Retention;
  clock: { now: number };
}

async function start(t: Test, policy: RetentionPolicy): Promise<Parts> {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
  const state = await State.open(folder);
  const clock = { now: 1_000_000 };
  const log = new LocalLog(state, { listener: () => {}, now: () => clock.now });
  t.teardown(async () => {
    await log.close();
    await state.close();
    await rm(folder, { recursive: true });
  });
  return { state, log, clock, retention: new Retention(state, log, policy, () => clock.now) };
}

async function post(log: LocalLog, count: number): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, (_, i) =>
      log.append({ op: "post", user: "alice", text: `${i}`, mentions: [], tags: [] }),
    ),
  );
}

function kept(state: State): number {
  state.refresh();
  return [...state.entries(0, state.applied())].filter(({ kind }) => kind === "post").length;
}

await tap.test("by count: the newest stay, whatever the count, and an idle log is left alone", async (t) => {
  for (const count of [5, 20, 100, 1_000]) {
    const { state, log, retention } = await start(t, { count });
    await post(log, 1_500);
    for (let second = 0; second < 50; second++) await retention.run();
    const after = kept(state);
    t.ok(after >= Math.min(count, 1_500) - 1 && after <= count + 16 + count / 100, `${count}: ${after} kept`);
  }
});

await tap.test("by age: what is older goes, however much, and the rest stays", async (t) => {
  const { state, log, clock, retention } = await start(t, { ageMs: 60_000 });
  await post(log, 1_200);
  clock.now += 30_000;
  await post(log, 40);
  await retention.run();
  t.equal(kept(state), 1_240, "nothing is old enough");
  clock.now += 30_001;
  await retention.run();
  t.equal(kept(state), 40);
  clock.now += 60_000;
  await retention.run();
  t.equal(kept(state), 0);
  const head = log.durable;
  await retention.run();
  t.equal(log.durable, head, "nothing left to do, nothing done");
});

await tap.test("without a policy nothing goes but publish keys past their day", async (t) => {
  const { state, log, clock, retention } = await start(t, {});
  const keyed: Command = { op: "post", user: "alice", text: "once", mentions: [], tags: [], key: "k" };
  const first = await log.append(keyed);
  t.equal((await log.append(keyed)).answer, first.offset, "the same key, the same post");
  clock.now += 24 * 3_600_000;
  await retention.run();
  t.equal((await log.append(keyed)).answer, first.offset, "still, after a day to the millisecond");
  clock.now += 1;
  await retention.run();
  t.not((await log.append(keyed)).answer, first.offset, "a key is forgotten after a day");
  t.equal(kept(state), 2);
});
