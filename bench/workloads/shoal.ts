/* shoal: many authors, and sessions that each follow some of them at random: posts that few get, from everywhere. */

import { evenSchedule, followAtRandom } from "./follows.ts";
import { Loads } from "./loads.ts";
import { openReaders } from "./open-readers.ts";
import { closedAndPaced } from "./rounds.ts";
import type { OpenedWorkload, Site } from "./workload.ts";

export interface ShoalOptions {
  authors: number;
  readers: number;
  /** Authors that a reader follows. */
  follows: number;
  /** Posts in flight over all authors: a closed round for each. */
  inFlight: readonly number[];
  /** Deliveries a second of the paced round; none without. */
  pacedPerSecond: number | undefined;
  /** Connections that publish. */
  publishers: number;
  seconds: number;
  payloadBytes: number;
  processes: number | undefined;
}

export const shoalDefaults = {
  authors: 1_000,
  readers: 2_000,
  follows: 50,
  inFlight: [16, 256],
  pacedPerSecond: 50_000,
  publishers: 1,
  seconds: 5,
  payloadBytes: 200,
} as const;

export async function openShoal(site: Site, options: ShoalOptions): Promise<OpenedWorkload> {
  const { authors, readers, follows, inFlight, pacedPerSecond, publishers } = options;
  const { seconds, payloadBytes, processes } = options;
  const loads = await Loads.start({
    run: site.run,
    dialect: site.running.dialect(site.run.makeName()),
    processes,
    follows: followAtRandom({ readers, authors, each: follows, seed: 2 }),
    topicCount: authors,
    schedule: evenSchedule(authors, 3),
    payloadBytes,
    publishers,
  });
  await openReaders(site, loads, "shoal");
  const rounds = closedAndPaced({
    site,
    loads,
    workload: "shoal",
    parameters: { authors, online: readers, follows, payloadBytes },
    inFlight,
    pacedPerSecond,
    readersEach: (readers * Math.min(follows, authors)) / authors,
    seconds,
  });
  return { rounds, close: () => loads.close() };
}
