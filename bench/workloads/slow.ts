/* slow: one tenth of the readers read at 1 KB/s. The others must not notice.
 *
 *   all quick │ a tenth slow │ all quick │ a tenth slow │ …     at one pace; then the slow ones catch up
 *
 * In turns, so that both are measured on the same machine in the same minute. The latency is that of the nine tenths.
 * Before a slow turn counts, the slow ones have fallen behind for as long as it is. Posts are long, so that what waits for
 * them outgrows the network's buffers and the broker has to deal with them. */

import { LiveLine } from "../live.ts";
import type { Row } from "../report/result.ts";
import { targetName } from "../targets/target.ts";
import { followOne } from "./follows.ts";
import { Loads } from "./loads.ts";
import { ServerWatch, type Seen, joinSeen, latencyResult, seenOf } from "./measure-round.ts";
import { openReaders } from "./open-readers.ts";
import { type Outcome, joinOutcomes } from "./outcome.ts";
import { warmUpPart } from "./rounds.ts";
import type { Site } from "./workload.ts";

export interface SlowOptions {
  online: number;
  /** Deliveries a second, if all are quick. */
  pacedPerSecond: number;
  /** Turns of each kind. */
  turns: number;
  seconds: number;
  payloadBytes: number;
  processes: number | undefined;
}

export const slowDefaults = { online: 500, pacedPerSecond: 50_000, turns: 3, payloadBytes: 4_000 } as const;

/** Every tenth. */
const slowEvery = 10;
const slowBytesPerSecond = 1_024;
/** What the others' p99 may grow by. */
const mostRatio = 1.2;

interface Turn {
  outcome: Outcome;
  seen: Seen;
}

export async function measureSlow(site: Site, options: SlowOptions): Promise<Row[]> {
  const { online, pacedPerSecond, turns, seconds, payloadBytes, processes } = options;
  const loads = await Loads.start({
    run: site.run,
    dialect: site.running.dialect(site.run.makeName()),
    processes,
    follows: followOne(online),
    topicCount: 1,
    schedule: Uint32Array.of(0),
    payloadBytes,
    slowEvery,
  });
  await openReaders(site, loads, `slow: ${online.toLocaleString("en")} followers`);
  const perSecond = pacedPerSecond / online;
  const turn = async (title: string, warmUpSeconds: number): Promise<Turn> => {
    await loads.run({ kind: "paced", perSecond, seconds: warmUpSeconds });
    const server = await ServerWatch.begin(site.running);
    const line = new LiveLine(`slow: ${title}`);
    const outcome = await loads.run(
      { kind: "paced", perSecond, seconds },
      { everyMs: 500, onInterval: ({ p99 }) => line.update(`p99 of the quick ${p99.toFixed(1)} ms`) },
    );
    line.end(`p99 of the quick ${outcome.latency.percentile(99).toFixed(1)} ms`);
    return { outcome, seen: await server.end() };
  };
  const [quick, slow]: [Turn[], Turn[]] = [[], []];
  for (let i = 1; i <= turns; i++) {
    quick.push(await turn(`all quick, turn ${i} of ${turns}`, seconds * warmUpPart));
    await loads.check();
    await loads.setSlow(slowBytesPerSecond);
    slow.push(await turn(`a tenth slow, turn ${i} of ${turns}`, seconds));
    await loads.setSlow(undefined);
    await site.run.phase("slow: the slow ones catch up", online, async (progress) => {
      await loads.check();
      progress(online);
    });
  }
  await loads.close();
  const parameters = { online, pacedPerSecond, payloadBytes };
  const rowQuick = rowOf(site, "all quick", { ...parameters, slow: 0 }, quick);
  const slowReaders = Math.ceil(online / slowEvery);
  const rowSlow = rowOf(site, "a tenth slow", { ...parameters, slow: slowReaders }, slow);
  const ratio = rowSlow.latency!.p99 / rowQuick.latency!.p99;
  rowSlow.goals = [
    {
      what: "p99 of the quick ones, of that without slow ones",
      measured: ratio,
      atMost: mostRatio,
      unit: "times",
    },
  ];
  rowSlow.notes.push(
    `${slowReaders} of ${online} read ${slowBytesPerSecond} bytes a second, and had for ${seconds} s before each turn; latency is that of the others. Afterwards all had every message once.`,
  );
  return [rowQuick, rowSlow];
}

function rowOf(site: Site, name: string, parameters: Row["parameters"], turns: readonly Turn[]): Row {
  const outcome = joinOutcomes(turns.map((each) => each.outcome));
  const seen = joinSeen(turns.map((each) => each.seen));
  const { seconds, latency, series, load, deliveries, publishes } = outcome;
  return {
    workload: "slow",
    name,
    target: targetName(site.target),
    parameters,
    seconds,
    deliveries,
    publishes,
    latency: latencyResult(latency, true),
    series,
    load,
    notes: seen.notes,
    ...seenOf(seen, deliveries),
  };
}
