/* soak: a mix, for as long as asked: many small authors and a whale, mentions, sessions that come and go; at one pace.
 *
 *   period │ check │ period │ check │ …      none may be missing at the end of any period; memory is looked at all along
 *
 * Sessions that stay get everything and are checked. Sessions that come and go only take what is live while they are there. */

import type { Row } from "../report/result.ts";
import { targetName } from "../targets/target.ts";
import { authorName } from "../targets/whalesong-dialect.ts";
import { LiveLine, rate } from "../live.ts";
import { processMemory } from "../targets/processes.ts";
import { followAtRandom, sliceFollows } from "./follows.ts";
import type { Follows } from "../load/crowd.ts";
import { Loads } from "./loads.ts";
import { ServerWatch, joinSeen, latencyResult, type Seen, seenOf } from "./measure-round.ts";
import { type Outcome, joinOutcomes } from "./outcome.ts";
import type { Site } from "./workload.ts";

export interface SoakOptions {
  minutes: number;
  /** Sessions that stay. */
  online: number;
  /** Sessions that come and go, and how many of them do in a second. */
  churning: number;
  churnPerSecond: number;
  authors: number;
  follows: number;
  pacedPerSecond: number;
  payloadBytes: number;
  processes: number | undefined;
}

export const soakDefaults = {
  minutes: 10,
  online: 2_000,
  churning: 200,
  churnPerSecond: 20,
  authors: 1_000,
  follows: 50,
  pacedPerSecond: 10_000,
} as const;

const longestPeriodSeconds = 30;
/** Every so-manieth post is the whale's, whom all follow; every so-manieth text mentions someone. */
const whaleEvery = 100;
const mentionEvery = 10;
const headCount = 97;

export async function measureSoak(site: Site, options: SoakOptions): Promise<Row[]> {
  const { minutes, online, churning, churnPerSecond, authors, payloadBytes, processes } = options;
  const { run, running } = site;
  const name = run.makeName();
  const follows = Math.min(options.follows, authors);
  const shared = {
    run,
    dialect: running.dialect(name),
    topicCount: authors + 1,
    schedule: scheduleOf(authors),
    payloadBytes,
  };
  const everyone = followAtRandom({ readers: online + churning, authors, each: follows, seed: 2 });
  const withWhale = addTopic(everyone, authors);
  const stay = await Loads.start({
    ...shared,
    processes,
    follows: sliceFollows(withWhale, 0, online),
    heads: Array.from({ length: headCount }, (_, i) =>
      i % mentionEvery === 0 ? ` @${authorName(name, i % authors)} ` : "",
    ),
  });
  const come = await Loads.start({
    ...shared,
    processes: 1,
    follows: sliceFollows(withWhale, online, online + churning),
  });
  await run.phase("soak: follows", stay.follows + come.follows, async (progress) => {
    await stay.prepare(progress);
    await come.prepare((done) => progress(stay.follows + done));
  });
  await run.phase("soak: connect", online + churning, async (progress) => {
    await stay.open("live", progress);
    await come.open("live", (done) => progress(online + done));
  });
  await stay.openPublishers();

  const perPost = (stay.audience.reduce((sum, count) => sum + count, 0) - online) / authors;
  const perSecond = options.pacedPerSecond / (perPost + online / whaleEvery);
  const totalSeconds = minutes * 60;
  const periodSeconds = Math.min(longestPeriodSeconds, totalSeconds / 3);
  const line = new LiveLine("soak");
  const outcomes: Outcome[] = [];
  const looks: Seen[] = [];
  const memory: [seconds: number, bytes: number][] = [];
  let passed = 0;
  let reconnects = 0;
  while (passed < totalSeconds - periodSeconds / 2) {
    const server = await ServerWatch.begin(site);
    const churn = come.churn(churnPerSecond, periodSeconds);
    const outcome = await stay.run(
      { kind: "paced", perSecond, seconds: periodSeconds },
      {
        everyMs: 1_000,
        rssBytes: () => processMemory(running.pids())?.rssBytes,
        onInterval: ({ deliveriesPerSecond, p99 }) =>
          line.update(
            `${Math.round(passed)} of ${Math.round(totalSeconds)} s, ${rate(deliveriesPerSecond)} deliveries, p99 ${p99.toFixed(1)} ms, ${reconnects} came and went`,
          ),
      },
    );
    reconnects += await churn;
    looks.push(await server.end());
    await stay.check();
    outcomes.push(outcome);
    passed += outcome.seconds;
    const bytes = processMemory(running.pids())?.anonymousBytes;
    if (bytes !== undefined) memory.push([passed, bytes]);
  }
  line.end(`${Math.round(passed)} s, ${reconnects} came and went`);
  await come.close();
  await stay.close();

  const { seconds, deliveries, publishes, latency, series, load } = joinOutcomes(outcomes);
  const seen = joinSeen(looks);
  const row: Row = {
    workload: "soak",
    name: `${online.toLocaleString("en")} stay, ${churning.toLocaleString("en")} come and go`,
    target: targetName(site.target),
    parameters: { online, churning, churnPerSecond, authors, follows, payloadBytes, minutes },
    seconds,
    deliveries,
    publishes,
    latency: latencyResult(latency, true),
    series,
    load,
    notes: [
      `${reconnects.toLocaleString("en")} sessions came and went. After each of ${outcomes.length} periods all that stayed had every message once.`,
    ],
    ...seenOf(seen, deliveries),
  };
  const trend = trendOf(memory);
  if (trend !== undefined) {
    row.notes.push(
      `Resident memory without mapped files went from ${megabytes(memory[0]![1])} to ${megabytes(memory.at(-1)![1])}; over the second half its trend was ${(trend * 3_600) / 1e6 < 0 ? "−" : "+"}${Math.abs((trend * 3_600) / 1e6).toFixed(1)} MB an hour.`,
    );
  }
  return [row];
}

/** Bytes a second over the second half, by least squares; undefined with fewer than three looks in it. */
export function trendOf(memory: readonly (readonly [seconds: number, bytes: number])[]): number | undefined {
  const half = memory.slice(memory.length >> 1);
  if (half.length < 3) return undefined;
  const mean = (of: (look: readonly [number, number]) => number): number =>
    half.reduce((sum, look) => sum + of(look), 0) / half.length;
  const [meanSeconds, meanBytes] = [mean(([seconds]) => seconds), mean(([, bytes]) => bytes)];
  const spread = mean(([seconds]) => (seconds - meanSeconds) ** 2);
  return mean(([seconds, bytes]) => (seconds - meanSeconds) * (bytes - meanBytes)) / spread;
}

/** Authors in turn, and the whale, whose number is theirs and one, now and then. */
function scheduleOf(authors: number): Uint32Array {
  const schedule: number[] = [];
  for (let author = 0; author < authors; author++) {
    if (author % (whaleEvery - 1) === 0) schedule.push(authors);
    schedule.push(author);
  }
  return Uint32Array.from(schedule);
}

/** All follow `topic` too. */
function addTopic({ first, offsets, topics }: Follows, topic: number): Follows {
  const readers = offsets.length - 1;
  const more = new Uint32Array(topics.length + readers);
  for (let i = 0; i < readers; i++) {
    more.set(topics.subarray(offsets[i], offsets[i + 1]), offsets[i]! + i);
    more[offsets[i + 1]! + i] = topic;
  }
  return { first, offsets: offsets.map((offset, i) => offset + i), topics: more };
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6).toLocaleString("en")} MB`;
}
