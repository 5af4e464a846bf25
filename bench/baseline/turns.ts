/* Turns: the same rounds of a workload at several targets, one after the other, again and again in the same minutes.
 *
 *   turn 1   baseline, ours: its rounds   baseline, a peer: its rounds   …
 *   turn 2   the same again
 *
 * What a machine gives changes while it is measured, so each target is held against the baseline measured just before it,
 * and of its turns the one with the middle ratio stands for it. All targets stay open meanwhile and wait.
 *
 * A target that breaks down (a reader misses a message, is let go or is not let in) is out from there on. Its row says so. */

import { note } from "../commands/with-run.ts";
import { cpuOf, ratioOf } from "../report/figures.ts";
import type { Row } from "../report/result.ts";
import { targetName } from "../targets/target.ts";
import type { OpenedWorkload, Site } from "../workloads/workload.ts";

export interface Turns {
  count: number;
  /** Started; whoever started them stops them. */
  baseline: Site;
  sites: readonly Site[];
  /** Opens what every turn begins with: one round. */
  openBaseline: (site: Site) => Promise<OpenedWorkload>;
  open: (site: Site) => Promise<OpenedWorkload>;
}

interface Contestant {
  site: Site;
  opened: OpenedWorkload | undefined;
  /** By round: its row of each turn, with its baseline. */
  rows: Row[][];
  failure: Failure | undefined;
}

interface Failure {
  /** The round that failed; none where it could not even begin. */
  round: number | undefined;
  message: string;
}

/** Rows in the order of rounds, then sites; the baseline's first. @throws when all break down */
export async function measureInTurns(turns: Turns): Promise<Row[]> {
  const { count, baseline, sites, openBaseline, open } = turns;
  const least = await openBaseline(baseline);
  const leastRows: Row[] = [];
  const contestants: Contestant[] = [];
  for (const site of sites) contestants.push(await openAt(site, open));
  for (let turn = 0; turn < count; turn++) {
    for (const contestant of contestants.filter(({ failure }) => failure === undefined)) {
      const before = await least.rounds[0]!.measure();
      leastRows.push(before);
      contestant.failure = await takeTurn(contestant, before);
      if (contestant.failure !== undefined) await giveUp(contestant);
    }
  }
  for (const { opened, failure } of contestants) if (failure === undefined) await opened?.close();
  await least.close();
  const rows = rowsOf(contestants);
  if (rows.length > 0) return [middleBy(leastRows, (row) => cpuOf(row) ?? 0), ...rows];
  throw new Error(contestants.map(({ site, failure }) => sentenceOf(site, failure)).join(" "));
}

async function openAt(site: Site, open: Turns["open"]): Promise<Contestant> {
  const contestant: Contestant = { site, opened: undefined, rows: [], failure: undefined };
  try {
    contestant.opened = await open(site);
    contestant.rows = contestant.opened.rounds.map(() => []);
  } catch (error) {
    contestant.failure = failureOf(error, undefined);
    await giveUp(contestant);
  }
  return contestant;
}

/** Measures each round once, until one fails. */
async function takeTurn({ opened, rows }: Contestant, before: Row): Promise<Failure | undefined> {
  const cpuUs = cpuOf(before);
  for (const [i, round] of opened!.rounds.entries()) {
    try {
      const row = await round.measure();
      // 0: it took less than the processor's clock can tell, and nothing can be compared with that.
      if (cpuUs !== undefined && cpuUs > 0) row.baseline = { name: before.target, cpuUs };
      rows[i]!.push(row);
    } catch (error) {
      return failureOf(error, i);
    }
  }
  return undefined;
}

/** Its load has failed, and may not be able to close as it should. */
async function giveUp({ site, opened, failure }: Contestant): Promise<void> {
  site.run.signal.throwIfAborted(); // then it was not the target's doing
  note(sentenceOf(site, failure));
  await opened?.close().catch((error: Error) => note(error.message));
  await site.running.stop();
}

/** Of what a load process threw, what it says without where it was. */
function failureOf(error: unknown, round: number | undefined): Failure {
  const [line = ""] = (error as Error).message.split("\n");
  return { round, message: line.replace(/^.*?\bError: /, "") };
}

function sentenceOf({ target }: Site, failure: Failure | undefined): string {
  return `${target.name} breaks down: ${failure?.message}.`;
}

function rowsOf(contestants: readonly Contestant[]): Row[] {
  const rounds = Math.max(...contestants.map(({ rows }) => rows.length));
  const all: Row[] = [];
  for (let round = 0; round < rounds; round++) {
    // Every target's row of a round has the same name and parameters.
    const like = contestants.flatMap(({ rows }) => rows[round] ?? [])[0];
    if (like === undefined) continue;
    for (const { site, rows, failure } of contestants) {
      const measured = rows[round] ?? [];
      const isBroken = measured.length === 0 || (failure !== undefined && failure.round === round);
      all.push(isBroken ? brokenRow(like, site, failure) : middleTurn(measured));
    }
  }
  return all;
}

function middleTurn(rows: readonly Row[]): Row {
  const row = middleBy(rows, (each) => ratioOf(each) ?? 0);
  if (rows.length === 1) return row;
  const ratios = rows.map((each) => ratioOf(each)?.toFixed(2) ?? "unknown").join(", ");
  return { ...row, notes: [...row.notes, `The ratios of its turns: ${ratios}.`] };
}

/** Of an even number the lower one of the middle. */
function middleBy(rows: readonly Row[], by: (row: Row) => number): Row {
  return rows.toSorted((a, b) => by(a) - by(b))[(rows.length - 1) >> 1]!;
}

function brokenRow({ workload, name, parameters }: Row, site: Site, failure: Failure | undefined): Row {
  return {
    workload,
    name,
    target: targetName(site.target),
    parameters,
    seconds: 0,
    load: { processes: 0, cpuShare: 0, isBottleneck: false },
    notes: [sentenceOf(site, failure)],
  };
}
