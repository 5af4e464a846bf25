/* Table: a run's result as Markdown that reads well in a terminal too: what is printed, and kept in RESULTS.md. */

import { measuresOf, namedRows, ratioOf } from "./figures.ts";
import { alignedTable } from "./markdown.ts";
import type { Goal, Measure, Row, RunResult } from "./result.ts";

interface Column {
  heading: string;
  /** "" where the row has none. */
  cell: (row: Row) => string;
  isText?: boolean;
}

const columns: readonly Column[] = [
  { heading: "what", cell: ({ name }) => name, isText: true },
  { heading: "at", cell: ({ target }) => target, isText: true },
  { heading: "deliveries/s", cell: ({ deliveries, seconds }) => perSecond(deliveries, seconds) },
  { heading: "posts/s", cell: ({ publishes, seconds }) => perSecond(publishes, seconds) },
  { heading: "CPU µs", cell: ({ cpu }) => (cpu === undefined ? "" : digits(cpu.userUs + cpu.systemUs)) },
  {
    heading: "× baseline",
    cell: (row) => digits(ratioOf(row)),
  },
  {
    heading: "user + system",
    cell: ({ cpu }) => (cpu === undefined ? "" : `${digits(cpu.userUs)} + ${digits(cpu.systemUs)}`),
  },
  { heading: "wire bytes", cell: ({ wireBytes }) => digits(wireBytes) },
  { heading: "p50 ms", cell: ({ latency }) => digits(latency?.p50) },
  { heading: "p90", cell: ({ latency }) => digits(latency?.p90) },
  { heading: "p99", cell: ({ latency }) => digits(latency?.p99) },
  { heading: "p99.9", cell: ({ latency }) => digits(latency?.p999) },
  { heading: "memory MB", cell: ({ memory }) => digits(megabytes(memory?.rssBytes)) },
  { heading: "bytes/session", cell: ({ memory }) => digits(memory?.bytesPerSession) },
  { heading: "loop p99 ms", cell: ({ loopDelay }) => digits(loopDelay?.p99) },
  { heading: "server CPU", cell: ({ cpu }) => (cpu === undefined ? "" : percent(cpu.share)) },
  { heading: "load CPU", cell: ({ load }) => `${percent(load.cpuShare)}${load.isBottleneck ? "*" : ""}` },
];

/** The whole result. */
export function renderTable(result: RunResult): string {
  const { command, at, seconds, whalesong, machine, notes } = result;
  const rows = namedRows(result);
  const isOfMany = new Set(rows.map(({ target }) => target)).size > 1;
  const title = ({ name, target }: Row): string => (isOfMany ? `${name}, ${target}` : name);
  const conditions = [
    `\`${command}\`, ${at.slice(0, 10)}, whalesong ${whalesong} (${machine.broker}), ${Math.round(seconds)} s.`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB; ${machine.system}; Node.js ${machine.node}; ` +
      `data on ${machine.fileSystem}; ${machine.openFiles.toLocaleString("en")} open files; load before ${machine.loadBefore}.`,
  ];
  return [
    ...conditions,
    "",
    ...tableOf(rows),
    "",
    ...measuresOfRows(rows, title),
    ...rows.flatMap((row) => goalsOf(row, title(row))),
    ...rows.flatMap((row) => row.notes.map((sentence) => `- ${title(row)}: ${sentence}`)),
    ...notes.map((sentence) => `- ${sentence}`),
    "",
    ...legend(rows),
  ].join("\n");
}

/** Columns that no row fills are left out. */
function tableOf(rows: readonly Row[]): string[] {
  const shown = columns.filter(({ cell }) => rows.some((row) => cell(row) !== ""));
  return alignedTable(
    shown.map(({ heading }) => heading),
    rows.map((row) => shown.map(({ cell }) => cell(row))),
    new Set(shown.flatMap(({ isText = false }, i) => (isText ? [] : [i]))),
  );
}

/** As a table where several rows have some, else a line for each; without those that a goal tells. */
function measuresOfRows(rows: readonly Row[], title: (row: Row) => string): string[] {
  const left = rows.map((row) => ({ ...row, measures: ownMeasures(row) })).filter(hasMeasures);
  if (left.length === 0) return [];
  const figures = measuresOf(left);
  if (left.length === 1) {
    const [row] = left;
    return figures.map(
      (figure) => `- ${title(row!)}: ${figure.name}: ${amount(figure.of(row!))} ${figure.unit}.`,
    );
  }
  const headings = ["what", ...figures.map(({ name, unit }) => `${name}, ${unit}`)];
  const cellsOf = [title, ...figures.map((figure) => (row: Row) => digits(figure.of(row)))];
  const cells = left.map((row) => cellsOf.map((cell) => cell(row)));
  return [...alignedTable(headings, cells, new Set(figures.map((_, i) => i + 1))), ""];
}

function hasMeasures({ measures = [] }: Row): boolean {
  return measures.length > 0;
}

function ownMeasures({ measures = [], goals = [] }: Row): Measure[] {
  return measures.filter(({ name }) => !goals.some(({ what }) => what === name));
}

function goalsOf({ goals = [] }: Row, title: string): string[] {
  return goals.map((goal) => {
    const bound =
      goal.atMost === undefined ? `at least ${amount(goal.atLeast)}` : `at most ${amount(goal.atMost)}`;
    return `- ${title}: ${goal.what} ${amount(goal.measured)} ${goal.unit}, to be ${bound}: ${isReached(goal) ? "reached" : "**not reached**"}.`;
  });
}

export function isReached({ measured, atMost, atLeast }: Goal): boolean {
  return (atMost === undefined || measured <= atMost) && (atLeast === undefined || measured >= atLeast);
}

function legend(rows: readonly Row[]): string[] {
  const isCorrected = rows.some(({ latency }) => latency?.corrected === true);
  const sentences = [
    "CPU µs is what the server's processes spent for each delivery, or for each post where nothing is delivered.",
    "Times are from publish to receipt.",
    isCorrected
      ? "Paced rounds count from when a post was due (corrected for coordinated omission); closed ones from when it was sent."
      : "They count from when a post was sent.",
    "CPU shares are of one core; the load's is its busiest process's.",
  ];
  const [baseline] = rows.flatMap((row) => row.baseline ?? []);
  if (baseline !== undefined)
    sentences.push(`× baseline is that CPU as a multiple of what ${baseline.name} took in turns with it.`);
  if (rows.some(({ load }) => load.isBottleneck))
    sentences.push(
      "With * the load had next to none of its cores left: it, not the server, may have been the limit.",
    );
  return [sentences.join(" ")];
}

function perSecond(count: number | undefined, seconds: number): string {
  return count === undefined || count === 0 ? "" : digits(count / seconds);
}

function megabytes(bytes: number | undefined): number | undefined {
  return bytes === undefined ? undefined : bytes / 1e6;
}

/** As `digits`, but what is counted stays whole. */
function amount(value: number | undefined): string {
  return value !== undefined && Number.isInteger(value) ? value.toLocaleString("en") : digits(value);
}

/** Three digits at least, whole numbers from 100 on; "" for what was not measured. */
export function digits(value: number | undefined): string {
  if (value === undefined) return "";
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 10 ? 1 : value >= 1 ? 2 : 3);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
