/* shoal: many authors, and sessions that each follow some of them at random: posts that few get, from everywhere. */

import { evenSchedule, followAtRandom } from "./follows.ts";
import { Loads } from "./loads.ts";
import { measureRound } from "./measure-round.ts";
import { openReaders } from "./open-readers.ts";
import { warmUpPart } from "./whale.ts";
import type { OpenedWorkload, Round, Site } from "./workload.ts";

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
  const shared = { site, loads, workload: "shoal", warmUpSeconds: seconds * warmUpPart };
  const parameters = { authors, online: readers, follows, payloadBytes };
  const rounds: Round[] = inFlight.map((count) => {
    const name = `${count} in flight`;
    return {
      name,
      measure: () =>
        measureRound({
          ...shared,
          name,
          parameters: { ...parameters, inFlight: count },
          pace: { kind: "closed", inFlight: count, seconds },
        }),
    };
  });
  if (pacedPerSecond !== undefined) {
    const name = `${pacedPerSecond.toLocaleString("en")} deliveries/s`;
    const perSecond = (pacedPerSecond * authors) / (readers * Math.min(follows, authors));
    rounds.push({
      name,
      measure: () =>
        measureRound({
          ...shared,
          name,
          parameters: { ...parameters, pacedPerSecond },
          pace: { kind: "paced", perSecond, seconds },
        }),
    });
  }
  return { rounds, close: () => loads.close() };
}
