/* reconnect: all sessions drop at once and come back many posts behind: how long until the last is live, and what it costs.
 *
 *   connect, cursors fixed ─► all drop ─► posts ─► all come back ─► each has got just what it missed
 *
 * Readers never acknowledge: their durable cursors stay where their first `resume` set them, at the head of then. */

import type { Row } from "../report/result.ts";
import { processMemory } from "../targets/processes.ts";
import { targetName } from "../targets/target.ts";
import { evenSchedule, followAtRandom } from "./follows.ts";
import { Loads } from "./loads.ts";
import { ServerWatch, seenOf } from "./measure-round.ts";
import { loadResult } from "./outcome.ts";
import type { Site } from "./workload.ts";

export interface ReconnectOptions {
  sessions: number;
  authors: number;
  /** Authors that each follows. */
  follows: number;
  /** Posts that each session is behind when it comes back. */
  behind: number;
  payloadBytes: number;
  processes: number | undefined;
}

export const reconnectDefaults = { sessions: 20_000, authors: 1_000, follows: 50, behind: 1_000 } as const;

/** Until all are live. */
const mostSeconds = 60;
const memoryEveryMs = 100;

export async function measureReconnect(site: Site, options: ReconnectOptions): Promise<Row[]> {
  const { sessions, authors, payloadBytes, processes } = options;
  const { run, running, target } = site;
  const follows = Math.min(options.follows, authors);
  const postsEach = Math.ceil(options.behind / follows);
  const behind = postsEach * follows;
  const loads = await Loads.start({
    run,
    dialect: running.dialect(run.makeName()),
    processes,
    follows: followAtRandom({ readers: sessions, authors, each: follows, seed: 2 }),
    topicCount: authors,
    schedule: evenSchedule(authors, 3),
    payloadBytes,
  });
  await run.phase("reconnect: follows", loads.follows, (progress) => loads.prepare(progress));
  await run.phase("reconnect: connect", sessions, (progress) => loads.open("resume", progress));
  await loads.openPublishers();
  await loads.drop();
  const posts = postsEach * authors;
  await run.phase("reconnect: posts", posts, (progress) => loads.publishAway(posts, progress));
  const before = processMemory(running.pids())?.rssBytes;

  const server = await ServerWatch.begin(site);
  let peak = before ?? 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, processMemory(running.pids())?.rssBytes ?? 0);
  }, memoryEveryMs).unref();
  const startMs = performance.now();
  const spent = await run.phase("reconnect: all come back", sessions, (progress) =>
    loads.open("resume", progress),
  );
  const seconds = (performance.now() - startMs) / 1_000;
  clearInterval(timer);
  const seen = await server.end();
  await loads.check();
  const after = processMemory(running.pids())?.rssBytes;
  await loads.close();

  const deliveries = sessions * behind;
  const row: Row = {
    workload: "reconnect",
    name: `${sessions.toLocaleString("en")} sessions, ${behind.toLocaleString("en")} behind`,
    target: targetName(target),
    parameters: { sessions, behind, follows, authors, payloadBytes },
    seconds,
    deliveries,
    load: loadResult(spent, run.pinning?.load.length),
    notes: [
      `From the first connection to the last live: ${seconds.toFixed(1)} s. Each got just the ${behind.toLocaleString("en")} posts it had missed.`,
      ...seen.notes,
    ],
    ...seenOf(seen, deliveries),
    goals: [{ what: "until all are live", measured: seconds, atMost: mostSeconds, unit: "s" }],
  };
  if (before !== undefined && after !== undefined) {
    row.memory = { rssBytes: peak };
    row.notes.push(
      `Memory was ${megabytes(before)} before, ${megabytes(peak)} at its peak, ${megabytes(after)} with all live again.`,
    );
  }
  return [row];
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6).toLocaleString("en")} MB`;
}
