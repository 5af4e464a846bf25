/* Comparison: two results beside each other, figure by figure.
 *
 * Rows are matched by workload, name and target. Where a target is there on both sides in one version each, as after an
 * upgrade, those two are matched, and both versions are said. What only one side has is named, and so is whatever else
 * differs: a ratio between two machines says little. */

import { type Figure, figures, formatNumber, fullName, measuresOf } from "./figures.ts";
import { alignedTable } from "./markdown.ts";
import type { Row, RunResult } from "./result.ts";

export interface Comparison {
  before: RunResult;
  after: RunResult;
  /** What else is not alike: machine, versions, commands. Whole sentences. */
  differences: string[];
  rows: ComparedRow[];
  onlyBefore: Row[];
  onlyAfter: Row[];
}

export interface ComparedRow {
  before: Row;
  after: Row;
  figures: ComparedFigure[];
}

export interface ComparedFigure {
  figure: Figure;
  /** Absent on a side that did not measure it. */
  before: number | undefined;
  after: number | undefined;
  /** After to before. */
  ratio: number | undefined;
  /** Told where the ratio is beyond what runs differ by in any case. */
  verdict: "better" | "worse" | undefined;
}

/** Ratios nearer to 1 than this are not judged. */
const noise = 0.05;

export function compare(before: RunResult, after: RunResult): Comparison {
  const left = [...before.rows];
  const right = [...after.rows];
  const pairs = [...takePairs(left, right, fullKey), ...takePairs(left, right, keyWithoutVersion)];
  const place = (row: Row): number => before.rows.indexOf(row);
  return {
    before,
    after,
    differences: differencesOf(before, after),
    rows: pairs
      .sort(([a], [b]) => place(a) - place(b))
      .map(([a, b]) => ({ before: a, after: b, figures: compareFigures(a, b) })),
    onlyBefore: left,
    onlyAfter: right,
  };
}

/** The comparison as text. */
export function renderComparison(before: RunResult, after: RunResult): string {
  const { differences, rows, onlyBefore, onlyAfter } = compare(before, after);
  const lines = [`before  ${described(before)}`, `after   ${described(after)}`];
  if (differences.length > 0) lines.push("", ...differences);
  if (rows.length > 0) lines.push("", ...renderRows(rows));
  lines.push(...renderOnly("before", onlyBefore), ...renderOnly("after", onlyAfter));
  if (rows.length > 0) lines.push("", verdictLegend);
  return `${lines.join("\n")}\n`;
}

export const verdictLegend = `ratio is after to before; better and worse are said where it is more than ${noise * 100} % from 1.`;

/** The target, or both where they differ. */
export function targetsOf({ before, after }: ComparedRow): string {
  return before.target === after.target ? before.target : `${before.target} → ${after.target}`;
}

function renderRows(rows: readonly ComparedRow[]): string[] {
  const headings = ["measured", "at", "figure", "unit", "before", "after", "ratio", ""];
  const cells = rows.flatMap((row) =>
    row.figures.map(({ figure, before, after, ratio, verdict }, i) => [
      i === 0 ? fullName(row.before) : "",
      i === 0 ? targetsOf(row) : "",
      figure.name,
      figure.unit,
      shown(before),
      shown(after),
      ratio === undefined ? "" : ratio.toFixed(2),
      verdict ?? "",
    ]),
  );
  return alignedTable(headings, cells, new Set([4, 5, 6]));
}

function renderOnly(side: string, rows: readonly Row[]): string[] {
  if (rows.length === 0) return [];
  return ["", `only ${side}:`, ...rows.map((row) => `- ${fullName(row)}, at ${row.target}`)];
}

function shown(value: number | undefined): string {
  return value === undefined ? "–" : formatNumber(value);
}

function described({ workload, whalesong, at, command }: RunResult): string {
  return `${workload}, whalesong ${whalesong}, ${at}: ${command}`;
}

function compareFigures(a: Row, b: Row): ComparedFigure[] {
  return [...measuresOf([a, b]), ...figures].flatMap((figure) => {
    const [before, after] = [figure.of(a), figure.of(b)];
    if (before === undefined && after === undefined) return [];
    const ratio = before === undefined || after === undefined || before === 0 ? undefined : after / before;
    return [{ figure, before, after, ratio, verdict: judge(figure, ratio) }];
  });
}

function judge({ better }: Figure, ratio: number | undefined): ComparedFigure["verdict"] {
  if (better === undefined || ratio === undefined || Math.abs(ratio - 1) <= noise) return undefined;
  return ratio > 1 === (better === "more") ? "better" : "worse";
}

/** Takes out of both lists the rows whose key is there once in each. */
function takePairs(left: Row[], right: Row[], keyOf: (row: Row) => string): [Row, Row][] {
  const pairs = left.flatMap((before): [Row, Row][] => {
    const [lefts, rights] = [left, right].map((rows) => rows.filter((row) => keyOf(row) === keyOf(before)));
    return lefts!.length === 1 && rights!.length === 1 ? [[before, rights![0]!]] : [];
  });
  for (const [before, after] of pairs) {
    left.splice(left.indexOf(before), 1);
    right.splice(right.indexOf(after), 1);
  }
  return pairs;
}

function fullKey({ workload, name, target }: Row): string {
  return JSON.stringify([workload, name, target]);
}

function keyWithoutVersion({ workload, name, target }: Row): string {
  return JSON.stringify([workload, name, target.replace(/ v?\d[\w.+-]*$/, "")]);
}

const machineFields = {
  cpu: "CPU",
  cores: "cores",
  memoryGib: "memory in GiB",
  system: "system",
  node: "Node.js",
  fileSystem: "file system",
  openFiles: "open files",
  broker: "broker run",
} as const;

function differencesOf(before: RunResult, after: RunResult): string[] {
  const pairs: [what: string, a: string | number, b: string | number][] = [
    ["workload", before.workload, after.workload],
    ["command", before.command, after.command],
    ["whalesong", before.whalesong, after.whalesong],
    ...Object.entries(machineFields).map(([field, what]): [string, string | number, string | number] => {
      const key = field as keyof typeof machineFields;
      return [what, before.machine[key], after.machine[key]];
    }),
  ];
  return pairs.flatMap(([what, a, b]) => (a === b ? [] : [`Not alike: ${what}: ${a} before, ${b} after.`]));
}
