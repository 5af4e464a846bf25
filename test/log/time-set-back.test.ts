/* A log whose time was carried ahead by a wrong clock, and then set back: retention goes on as if it had not been. */

import tap from "tap";

import { LocalLog } from "../../broker/log/local.ts";
import { Retention } from "../../broker/log/retention.ts";
import { publishKeyLifeMs } from "../../broker/state/index.ts";
import { WhalesongError } from "../../protocol/index.ts";
import { faultsOf } from "../state/consistency.ts";
import { openStore, post } from "../state/store.ts";

const year = 365 * 86_400_000;
const day = 86_400_000;

await tap.test("posts before, of and after the wrong time go by their age; keys expire", async (t) => {
  const store = await openStore(t);
  const { state } = store;
  let now = 1_790_000_000_000;
  const log = new LocalLog(state, { listener: () => {}, now: () => now });
  const retention = new Retention(state, log, { ageMs: day }, () => now);
  const publish = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await log.append(post("alice", { key: `${now}-${i}` }));
  };
  await publish(100);
  now += year;
  await publish(1);
  now -= year;
  await state.setTimeBack(now);
  await publish(600);
  t.equal(state.entry(state.applied())!.at, now, "what comes now is of now");
  await retention.run();
  t.equal(state.meta.floor, 0, "nothing is old yet");
  now += day + 1;
  await publish(10);
  await retention.run();
  const kept = [...state.entries(0, state.applied())].filter(({ kind }) => kind === "post");
  t.equal(kept.length, 10);
  now += publishKeyLifeMs + 1;
  await retention.run();
  t.notOk(state.publishKeys.anyBefore(Number.MAX_SAFE_INTEGER - 1), "no key is kept for a year");
  t.same(faultsOf(state), []);
  await log.close();
});

await tap.test(
  "while the time is in doubt nothing is written or removed, and what waits is refused",
  async (t) => {
    const { state } = await openStore(t);
    let doubt: string | undefined;
    let now: number | undefined = 1_790_000_000_000;
    const log = new LocalLog(state, {
      listener: () => {},
      now: () => {
        if (now === undefined) throw new WhalesongError("unavailable", "what time is it?");
        return now;
      },
      timeDoubt: () => doubt,
    });
    const retention = new Retention(state, log, { ageMs: 1, count: 1 }, () => now);
    for (let i = 0; i < 50; i++) await log.append(post("alice"));
    const before = state.applied();
    // It comes to be in doubt between a command's coming and its turn.
    const late = log.append(post("alice"));
    now = undefined;
    await t.rejects(late, { code: "unavailable", retryable: true });
    doubt = "what time is it?";
    await t.rejects(log.append(post("alice")), { code: "unavailable", message: doubt });
    t.equal(log.refusal, doubt);
    await retention.run();
    t.equal(state.applied(), before);
    t.equal(state.meta.floor, 0);
    [now, doubt] = [1_790_000_000_001, undefined];
    t.equal((await log.append(post("alice"))).offset, before + 1, "and it goes on");
    await log.close();
  },
);
