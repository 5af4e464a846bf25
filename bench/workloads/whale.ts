/* whale: one author, and everybody who is online follows them.
 *
 * Closed loop with 1 and with 32 posts in flight: the next goes out when the oldest in flight has reached all. With one in
 * flight each delivery is a write of its own; with 32 a target can join what waits for a reader. And paced: as many
 * posts as make the deliveries a second that are asked for, whatever the target does. */

import { Loads } from "./loads.ts";
import { followOne } from "./follows.ts";
import { measureRound } from "./measure-round.ts";
import { openReaders } from "./open-readers.ts";
import type { OpenedWorkload, Round, Site } from "./workload.ts";

export interface WhaleOptions {
  online: number;
  /** Posts in flight: a closed round for each. */
  inFlight: readonly number[];
  /** Deliveries a second of the paced round; none without. */
  pacedPerSecond: number | undefined;
  seconds: number;
  payloadBytes: number;
  processes: number | undefined;
}

export const whaleDefaults = {
  online: [1_000, 10_000, 50_000],
  inFlight: [1, 32],
  pacedPerSecond: 50_000,
  seconds: 5,
  payloadBytes: 200,
} as const;

/** What of a round's length is run before it, uncounted. */
export const warmUpPart = 0.3;

export async function openWhale(site: Site, options: WhaleOptions): Promise<OpenedWorkload> {
  const { online, inFlight, pacedPerSecond, seconds, payloadBytes, processes } = options;
  const loads = await Loads.start({
    run: site.run,
    dialect: site.running.dialect(site.run.makeName()),
    processes,
    follows: followOne(online),
    topicCount: 1,
    schedule: Uint32Array.of(0),
    payloadBytes,
  });
  await openReaders(site, loads, `whale: ${online.toLocaleString("en")} followers`);
  const shared = { site, loads, workload: "whale", warmUpSeconds: seconds * warmUpPart };
  const named = `${online.toLocaleString("en")} online`;
  const parameters = { online, payloadBytes };
  const rounds: Round[] = inFlight.map((count) => {
    const name = `${named}, ${count} in flight`;
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
    const name = `${named}, ${pacedPerSecond.toLocaleString("en")} deliveries/s`;
    const perSecond = pacedPerSecond / online;
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
