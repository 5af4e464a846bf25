/* Reach: waiting for an offset that another node has reached. */

import tap from "tap";

import { LocalLog } from "../../broker/log/local.ts";
import { Reach } from "../../broker/log/reach.ts";
import { openStore, post } from "../state/store.ts";

await tap.test("an offset is waited for until the log is there, and the listener was told", async (t) => {
  const { state } = await openStore(t);
  let told = 0;
  const log = new LocalLog(state, { listener: (_, durable) => void (told = durable) });
  const reach = new Reach({ log, lagging: () => undefined, reachMs: 60_000 });
  const reached: number[] = [];
  const waits = [3, 1, 2, 2].map(async (offset) => {
    await reach.to(offset);
    t.ok(told >= offset, "told before");
    reached.push(offset);
  });
  for (let i = 0; i < 3; i++) {
    t.same([...new Set(reached)], [1, 2, 3].slice(0, i));
    await log.append(post("ann"));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(waits);
  t.same(reached, [1, 2, 2, 3]);
  t.equal(reach.to(3), undefined, "there already");
  await log.close();
});

await tap.test(
  "an offset that does not come is waited for in vain for a while; a node that lags says so",
  async (t) => {
    const { state } = await openStore(t);
    const log = new LocalLog(state, { listener: () => {} });
    let reason: string | undefined;
    const reach = new Reach({ log, lagging: () => reason, reachMs: 20 });
    await reach.to(5);
    t.equal(log.durable, 0, "not reached, and not refused: whoever asked knows what that means");
    reason = "NATS is away";
    await t.rejects(reach.to(5)!, { code: "unavailable", retryable: true, message: /NATS is away/ });
    reason = undefined;
    await Promise.all([reach.to(1), log.append(post("ann"))]);
    t.equal(log.durable, 1, "those who gave up hold up nobody");
    await log.close();
  },
);
