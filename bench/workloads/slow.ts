/* slow: one tenth of the readers read at 1 KB/s. The others must not notice.
 *
 *   all quick │ a tenth slow, buffers filling │ … until each has gone back to catch-up │ a tenth slow, in catch-up │ all quick …
 *
 * In turns, at one pace, so that all are measured on the same machine in the same minutes. The latency is that of the nine
 * tenths. What waits for a slow reader first fills the network's buffers, which costs the kernel fresh memory, and then
 * the broker's outbox; past that the reader is served from the log, at its own pace. Both times are measured, since the
 * first is short and dear, and the second is what lasts. Posts are long, so that it comes soon. */

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
/** How long is waited for the slow ones to go back to catch-up, and how often is looked. */
const mostFallBackSeconds = 60;
const lookSeconds = 1;
const fallBacks = "whalesong_fallbacks_total";

interface Turn {
  outcome: Outcome;
  seen: Seen;
}

/** How long the slow ones took to fall back in each turn; undefined when not all had in time. */
type FallBackTimes = (number | undefined)[];

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
  const slowReaders = Math.ceil(online / slowEvery);
  const perSecond = pacedPerSecond / online;
  const turn = async (title: string): Promise<Turn> => {
    const server = await ServerWatch.begin(site);
    const line = new LiveLine(`slow: ${title}`);
    const outcome = await loads.run(
      { kind: "paced", perSecond, seconds },
      { everyMs: 500, onInterval: ({ p99 }) => line.update(`p99 of the quick ${p99.toFixed(1)} ms`) },
    );
    line.end(`p99 of the quick ${outcome.latency.percentile(99).toFixed(1)} ms`);
    return { outcome, seen: await server.end() };
  };
  const [quick, filling, catchingUp]: [Turn[], Turn[], Turn[]] = [[], [], []];
  const fallBackTimes: FallBackTimes = [];
  for (let i = 1; i <= turns; i++) {
    const which = `turn ${i} of ${turns}`;
    await loads.run({ kind: "paced", perSecond, seconds: seconds * warmUpPart });
    quick.push(await turn(`all quick, ${which}`));
    await loads.check();
    const before = await site.running.counter?.(fallBacks);
    await loads.setSlow(slowBytesPerSecond);
    filling.push(await turn(`a tenth slow, buffers filling, ${which}`));
    fallBackTimes.push(
      await untilFallenBack({ site, loads, perSecond, before, slowReaders, passedSeconds: seconds }),
    );
    catchingUp.push(await turn(`a tenth slow, in catch-up, ${which}`));
    await loads.setSlow(undefined);
    await site.run.phase("slow: the slow ones catch up", online, async (progress) => {
      await loads.check();
      progress(online);
    });
  }
  await loads.close();
  const parameters = { online, pacedPerSecond, payloadBytes };
  const rowQuick = rowOf(site, "all quick", { ...parameters, slow: 0 }, quick);
  const withSlow = { ...parameters, slow: slowReaders };
  const rowFilling = rowOf(site, "a tenth slow, buffers filling", withSlow, filling);
  const rowCatchingUp = rowOf(site, "a tenth slow, in catch-up", withSlow, catchingUp);
  rowFilling.notes.push(
    `${slowReaders} of ${online} read ${slowBytesPerSecond} bytes a second; these are the first ${seconds} s of it. Latency is that of the others.`,
  );
  rowCatchingUp.notes.push(describeFallBack(fallBackTimes), "Afterwards all had every message once.");
  for (const row of [rowFilling, rowCatchingUp]) {
    row.goals = [
      {
        what: "p99 of the quick ones, of that without slow ones",
        measured: row.latency!.p99 / rowQuick.latency!.p99,
        atMost: mostRatio,
        unit: "times",
      },
    ];
  }
  return [rowQuick, rowFilling, rowCatchingUp];
}

/** Goes on publishing until so many sessions have gone back to catch-up. Answers how long after the slow ones became slow. */
async function untilFallenBack(options: {
  site: Site;
  loads: Loads;
  perSecond: number;
  before: number | undefined;
  slowReaders: number;
  passedSeconds: number;
}): Promise<number | undefined> {
  const { site, loads, perSecond, before, slowReaders, passedSeconds } = options;
  const line = new LiveLine("slow: until the slow ones are in catch-up");
  let fallen = 0;
  let passed = passedSeconds;
  while (passed < mostFallBackSeconds) {
    const now = await site.running.counter?.(fallBacks);
    fallen = now === undefined || before === undefined ? 0 : now - before;
    line.update(`${fallen} of ${slowReaders} after ${Math.round(passed)} s`);
    if (fallen >= slowReaders) break;
    passed += (await loads.run({ kind: "paced", perSecond, seconds: lookSeconds })).seconds;
  }
  line.end(`${fallen} of ${slowReaders} after ${Math.round(passed)} s`);
  return fallen >= slowReaders ? passed : undefined;
}

function describeFallBack(times: FallBackTimes): string {
  const known = times.filter((seconds) => seconds !== undefined);
  if (known.length < times.length) {
    return `Not all slow ones were seen to go back to catch-up within ${mostFallBackSeconds} s, or the broker did not say: the figures may be of full buffers, too.`;
  }
  const told = known.map((seconds) => seconds.toFixed(0)).join(", ");
  return `The slow ones had all gone back to catch-up (${fallBacks}) ${told} s after they became slow.`;
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
