/* whale: one author, and everybody who is online follows them.
 *
 * Closed loop with 1 and with 32 posts in flight: the next goes out when the oldest in flight has reached all. With one in
 * flight each delivery is a write of its own; with 32 a target can join what waits for a reader. And paced: as many
 * posts as make the deliveries a second that are asked for, whatever the target does. */

import { Loads } from "./loads.ts";
import { followOne } from "./follows.ts";
import { openReaders } from "./open-readers.ts";
import { closedAndPaced } from "./rounds.ts";
import type { OpenedWorkload, Site } from "./workload.ts";

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
  const rounds = closedAndPaced({
    site,
    loads,
    workload: "whale",
    named: `${online.toLocaleString("en")} online`,
    parameters: { online, payloadBytes },
    inFlight,
    pacedPerSecond,
    readersEach: online,
    seconds,
  });
  return { rounds, close: () => loads.close() };
}
