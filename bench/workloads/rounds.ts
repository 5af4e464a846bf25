/* Rounds: what workloads of posts and readers are measured by: closed loops, one for each number of posts in flight, and one
 * round at a pace. */

import type { Row } from "../report/result.ts";
import type { Loads } from "./loads.ts";
import { measureRound } from "./measure-round.ts";
import type { Round, Site } from "./workload.ts";

export interface RoundsOptions {
  site: Site;
  loads: Loads;
  workload: string;
  /** What all names of its rounds begin with: "1,000 online". */
  named?: string;
  parameters: Row["parameters"];
  /** Posts in flight: a closed round for each. */
  inFlight: readonly number[];
  /** Deliveries a second of the paced round; none without. */
  pacedPerSecond: number | undefined;
  /** Readers that a post reaches, on average. */
  readersEach: number;
  seconds: number;
}

/** What of a round's length is run before it, uncounted. */
export const warmUpPart = 0.3;

/** The closed rounds, then the paced one. */
export function closedAndPaced(options: RoundsOptions): Round[] {
  const { site, loads, workload, named, parameters, inFlight, pacedPerSecond, readersEach, seconds } =
    options;
  const shared = { site, loads, workload, warmUpSeconds: seconds * warmUpPart };
  const nameOf = (what: string): string => (named === undefined ? what : `${named}, ${what}`);
  const rounds: Round[] = inFlight.map((count) => {
    const name = nameOf(`${count} in flight`);
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
  if (pacedPerSecond === undefined) return rounds;
  const name = nameOf(`${pacedPerSecond.toLocaleString("en")} deliveries/s`);
  const paced: Round = {
    name,
    measure: () =>
      measureRound({
        ...shared,
        name,
        parameters: { ...parameters, pacedPerSecond },
        pace: { kind: "paced", perSecond: pacedPerSecond / readersEach, seconds },
      }),
  };
  return [...rounds, paced];
}
