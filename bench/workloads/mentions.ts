/* mentions: a storm at one user: thousands of authors mention them, and all of it comes to their few sessions. */

import type { Follows } from "../load/crowd.ts";
import { readerName } from "../targets/whalesong-dialect.ts";
import { evenSchedule } from "./follows.ts";
import { Loads } from "./loads.ts";
import { closedAndPaced } from "./rounds.ts";
import type { OpenedWorkload, Site } from "./workload.ts";

export interface MentionsOptions {
  authors: number;
  /** Sessions of the one user. */
  sessions: number;
  inFlight: readonly number[];
  pacedPerSecond: number | undefined;
  seconds: number;
  payloadBytes: number;
  processes: number | undefined;
}

export const mentionsDefaults = {
  authors: 5_000,
  sessions: 20,
  inFlight: [1, 256],
  pacedPerSecond: 50_000,
} as const;

export async function openMentions(site: Site, options: MentionsOptions): Promise<OpenedWorkload> {
  const { authors, sessions, inFlight, pacedPerSecond, seconds, payloadBytes, processes } = options;
  const run = site.run.makeName();
  const loads = await Loads.start({
    run: site.run,
    dialect: site.running.dialect(run),
    processes,
    follows: everyone(sessions, authors),
    topicCount: authors,
    schedule: evenSchedule(authors, 3),
    payloadBytes,
    heads: [` @${readerName(run, 0)} `],
    stream: "mentions",
    user: 0,
  });
  await site.run.phase("mentions: connect", loads.readers, (progress) => loads.open("live", progress));
  await loads.openPublishers();
  const rounds = closedAndPaced({
    site,
    loads,
    workload: "mentions",
    named: `${authors.toLocaleString("en")} authors`,
    parameters: { authors, online: sessions, payloadBytes },
    inFlight,
    pacedPerSecond,
    readersEach: sessions,
    seconds,
  });
  return { rounds, close: () => loads.close() };
}

/** Each session gets what any of the authors says: all of it mentions its user. */
function everyone(sessions: number, authors: number): Follows {
  return {
    first: 0,
    offsets: Uint32Array.from({ length: sessions + 1 }, (_, i) => i * authors),
    topics: Uint32Array.from({ length: sessions * authors }, (_, i) => i % authors),
  };
}
