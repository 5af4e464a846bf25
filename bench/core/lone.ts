/* lone: how long a publish takes that comes alone, beside what the disk itself takes. */

import { type Figure, figureOf } from "../figure.ts";
import type { LoneHandlers } from "../load/lone.ts";
import type { Run } from "../run.ts";

/** What a publish may take beyond one sync of the disk. */
const allowanceMs = 1;

export async function measureLone(run: Run): Promise<Figure[]> {
  const posts = run.size(3_000);
  const broker = await run.startBroker();
  const load = run.startLoad<LoneHandlers>("lone");
  const { result, server: brokerSpent } = await run.phase("a lone publish", posts, (progress) =>
    broker.observe(() => load.ask("lone", { url: broker.url, folder: broker.data, posts }, progress)),
  );
  const { post, sync, spent } = result;
  await load.end();
  await broker.stop();
  const shared = { part: "lone", unit: "ms", loads: [spent], broker: brokerSpent };
  return [
    figureOf({
      ...shared,
      name: "a lone publish, p50",
      value: post.p50Ms,
      atMost: sync.p50Ms + allowanceMs,
      note: `one sync of the disk (4 KiB and fdatasync): p50 ${sync.p50Ms.toFixed(3)} ms, p99 ${sync.p99Ms.toFixed(3)} ms; the target is its p50 + ${allowanceMs} ms`,
    }),
    figureOf({ ...shared, name: "a lone publish, p99", value: post.p99Ms }),
  ];
}
