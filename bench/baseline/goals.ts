/* Goals: what a delivery of ours may cost, as a multiple of the baseline's, and where. */

import { ratioOf } from "../report/figures.ts";
import type { Goal, Row } from "../report/result.ts";

interface Place {
  workload: "whale" | "shoal";
  online: number;
  inFlight: number;
  atMost: number;
}

const places: readonly Place[] = [
  { workload: "whale", online: 1_000, inFlight: 1, atMost: 1.25 },
  { workload: "whale", online: 1_000, inFlight: 32, atMost: 0.07 },
  { workload: "whale", online: 10_000, inFlight: 1, atMost: 1.35 },
  { workload: "whale", online: 10_000, inFlight: 32, atMost: 0.06 },
  { workload: "shoal", online: 2_000, inFlight: 16, atMost: 1.3 },
  { workload: "shoal", online: 2_000, inFlight: 256, atMost: 0.4 },
];

/** The goal of a row of ours; undefined where nothing is promised. */
export function fanOutGoal(row: Row): Goal | undefined {
  const measured = ratioOf(row);
  const { online, inFlight } = row.parameters;
  const place = places.find(
    (each) => each.workload === row.workload && each.online === online && each.inFlight === inFlight,
  );
  if (place === undefined || measured === undefined) return undefined;
  return { what: "CPU per delivery of the baseline's", measured, atMost: place.atMost, unit: "×" };
}
