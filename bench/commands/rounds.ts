/* A workload's rounds at the target of a command: beside the baseline where that can be, so that what a delivery costs is
 * told as a multiple of the least it can cost on the same machine in the same minute. */

import { fanOutGoal } from "../baseline/goals.ts";
import { aboutBaseline, chooseBaseline } from "../baseline/index.ts";
import { measureInTurns } from "../baseline/turns.ts";
import { openFileLimit } from "../machine.ts";
import type { Row } from "../report/result.ts";
import { openWhale } from "../workloads/whale.ts";
import type { OpenedWorkload, Site } from "../workloads/workload.ts";
import { type Bench, defaultPayloadBytes, startSite } from "./workload-command.ts";

export interface Rounds {
  site: Site;
  /** Readers: the baseline has as many sockets. */
  online: number;
  open: (site: Site) => Promise<OpenedWorkload>;
}

/** Files that the baseline has open beside its sockets. */
const otherFiles = 256;

/** Measures each round once. The site stays. @throws when one fails */
export async function measureRounds(bench: Bench, { site, online, open }: Rounds): Promise<Row[]> {
  // A broker elsewhere is not to share its machine with a baseline.
  if (bench.isExternal || online > openFileLimit() - otherFiles) return measurePlainly(await open(site));
  const { run, seconds, payloadBytes = defaultPayloadBytes, processes } = bench;
  const baseline = chooseBaseline({ payloadBytes });
  bench.remark(aboutBaseline(baseline));
  const least = await startSite(run, baseline);
  const one = { online, inFlight: [1], pacedPerSecond: undefined, seconds, payloadBytes, processes };
  const rows = await measureInTurns({
    count: 1,
    baseline: least,
    sites: [site],
    openBaseline: (where) => openWhale(where, one),
    open,
  });
  await least.running.stop();
  for (const row of rows) {
    if (row.seconds === 0) throw new Error(`${row.workload}: ${row.name}: ${row.notes.join(" ")}`);
    const goal = fanOutGoal(row);
    if (goal !== undefined) row.goals = [goal];
  }
  return rows;
}

async function measurePlainly(opened: OpenedWorkload): Promise<Row[]> {
  const rows: Row[] = [];
  for (const round of opened.rounds) rows.push(await round.measure());
  await opened.close();
  return rows;
}
