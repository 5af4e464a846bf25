/* Plots: which lines a result has, as data; drawing.ts says how they come onto the page.
 *
 *   latency curves   percentiles, on an axis of nines: 0, 90, 99, 99.9 % stand apart alike
 *   over time        deliveries or posts, p99, memory, one value for each interval
 *   batch size       CPU for a delivery, by posts in flight, with the baseline as a line
 *
 * A plot that has nothing to show is left out. Lines of one plot share their x values; where one has none there is a gap. */

import { cpuOf, namedRows, ratioOf } from "./figures.ts";
import type { Row, RunResult, Series } from "./result.ts";

export interface Plot {
  title: string;
  /** What is seen, for who does not see it. */
  summary: string;
  x: { label: string; scale: "nines" | "log2" | "linear" };
  y: { label: string; scale: "log10" | "linear" };
  lines: PlotLine[];
  /** The x values, ascending, then each line's y values. */
  columns: [x: number[], ...y: (number | null)[][]];
  /** What was done meanwhile: upright lines. */
  marks: { x: number; label: string }[];
}

export interface PlotLine {
  label: string;
  /** Place in the palette; lines of one label have one colour throughout a result. */
  colour: number;
  /** Drawn as what others are measured by. */
  isReference: boolean;
}

/** One bar chart: the targets' CPU for a delivery, as multiples of the baseline's, in one place. */
export interface Bars {
  name: string;
  /** What 1 stands for. */
  baseline: string;
  bars: { label: string; ratio: number }[];
}

/** Colours that can be told apart, also by who sees few. */
export const paletteSize = 8;

interface Line {
  label: string;
  points: readonly (readonly [x: number, y: number])[];
  isReference?: boolean;
}

type Axes = Pick<Plot, "title" | "x" | "y" | "marks">;

export function plotsOf(result: RunResult): Plot[] {
  const rows = namedRows(result);
  const palette = new Palette();
  return [
    ...latencyPlots(rows, palette),
    ...batchPlots(rows, palette),
    ...timePlots(rows, palette, "Deliveries over time", "deliveries/s", (s) => s.deliveriesPerSecond),
    ...timePlots(
      rows.filter(deliversNothing),
      palette,
      "Posts over time",
      "posts/s",
      (s) => s.publishesPerSecond,
    ),
    ...timePlots(rows, palette, "p99 over time", "ms from publish to receipt", (s) => s.p99),
    ...timePlots(
      rows,
      palette,
      "Sessions that came back, over time",
      "sessions in 100 ms",
      (s) => s.reconnects100Ms,
    ),
    ...timePlots(rows, palette, "Memory over time", "MB, resident", (s) =>
      s.rssBytes?.map((bytes) => bytes / 1e6),
    ),
  ];
}

/** The CPU ratios of a run that measured several targets. */
export function barsOf(result: RunResult): Bars[] {
  const measured = namedRows(result).filter((row) => ratioOf(row) !== undefined);
  if (new Set(measured.map(({ target }) => target)).size < 2) return [];
  return [...groupBy(measured, nameOf).entries()].map(([name, group]) => ({
    name,
    baseline: group[0]!.baseline!.name,
    bars: group.map((row) => ({ label: row.target, ratio: ratioOf(row)! })),
  }));
}

function latencyPlots(rows: readonly Row[], palette: Palette): Plot[] {
  const told = rows.filter(({ latency }) => latency !== undefined && latency.curve.length > 1);
  return linePlots(told, palette, latencyAxes, ({ latency }) =>
    latency!.curve.map(([percentile, ms]) => [nines(percentile, latency!.count), Math.max(ms, 0.001)]),
  );
}

const latencyAxes: Axes = {
  title: "Latency from publish to receipt",
  x: { label: "percentile", scale: "nines" },
  y: { label: "ms", scale: "log10" },
  marks: [],
};

function timePlots(
  rows: readonly Row[],
  palette: Palette,
  title: string,
  label: string,
  valuesOf: (series: Series) => number[] | undefined,
): Plot[] {
  const told = rows.filter(({ series }) => series !== undefined && valuesOf(series)?.some((y) => y > 0));
  const marks = told.length === 1 ? marksOf(told[0]!) : []; // of several rows nobody could tell whose they are
  const axes: Axes = {
    title,
    x: { label: "seconds", scale: "linear" },
    y: { label, scale: "linear" },
    marks,
  };
  return linePlots(told, palette, axes, ({ series }) =>
    valuesOf(series!)!.map((y, i) => [series!.at[i]!, y] as const),
  );
}

function marksOf({ marks = [] }: Row): Plot["marks"] {
  return marks.map(({ at, label }) => ({ x: at, label }));
}

/** One plot for each name where there are several targets to compare; else one of all rows. */
function linePlots(
  rows: readonly Row[],
  palette: Palette,
  axes: Axes,
  pointsOf: (row: Row) => Line["points"],
): Plot[] {
  const targets = new Set(rows.map(({ target }) => target));
  const names = new Set(rows.map(nameOf));
  const groups = targets.size > 1 ? groupBy(rows, nameOf) : new Map([["", rows]]);
  return [...groups.entries()].flatMap(([name, group]) => {
    const title = targets.size > 1 && names.size > 1 ? `${axes.title}: ${name}` : axes.title;
    const lines = group.map((row) => ({
      label: targets.size > 1 ? row.target : row.name,
      points: pointsOf(row),
    }));
    return inPlots({ ...axes, title }, lines, palette);
  });
}

/** CPU by posts in flight: user and system for one target, the sum for several. */
function batchPlots(rows: readonly Row[], palette: Palette): Plot[] {
  const told = rows.filter(({ cpu, parameters }) => cpu !== undefined && Number(parameters["inFlight"]) > 0);
  return [...groupBy(told, nameWithoutBatch).entries()].flatMap(([name, group]) => {
    const batches = new Set(group.map(batchOf));
    if (batches.size < 2) return [];
    const targets = [...groupBy(group, ({ target }) => target).entries()];
    const lines: Line[] =
      targets.length > 1
        ? targets.map(([label, own]) => batchLine(label, own, cpuOf))
        : [
            batchLine("user and system", group, cpuOf),
            batchLine("user", group, ({ cpu }) => cpu!.userUs),
            batchLine("system", group, ({ cpu }) => cpu!.systemUs),
          ];
    const baseline = group.find((row) => row.baseline !== undefined)?.baseline;
    if (baseline !== undefined) {
      const line = batchLine(baseline.name, firstOfEach(group), (row) => row.baseline?.cpuUs);
      lines.push({ ...line, isReference: true });
    }
    return inPlots({ ...batchAxes, title: `${batchAxes.title}: ${name}` }, lines, palette);
  });
}

const batchAxes: Axes = {
  title: "CPU for a delivery by batch size",
  x: { label: "posts in flight", scale: "log2" },
  y: { label: "µs of CPU for a delivery", scale: "log10" },
  marks: [],
};

function batchLine(label: string, rows: readonly Row[], valueOf: (row: Row) => number | undefined): Line {
  const points = rows.flatMap((row): [number, number][] => {
    const value = valueOf(row);
    return value === undefined || value <= 0 ? [] : [[batchOf(row), value]];
  });
  return { label, points: points.sort(([a], [b]) => a - b) };
}

/** The first row of each batch size that has a baseline. */
function firstOfEach(rows: readonly Row[]): Row[] {
  const based = rows.filter(({ baseline }) => baseline !== undefined);
  return [...groupBy(based, batchOf).values()].map(([first]) => first!);
}

function nameOf({ name }: Row): string {
  return name;
}

/** Publishes are the measure where nothing is delivered; else they follow from the deliveries. */
function deliversNothing({ deliveries = 0 }: Row): boolean {
  return deliveries === 0;
}

function batchOf({ parameters }: Row): number {
  return Number(parameters["inFlight"]);
}

/** "1,000 online, 32 in flight" as "1,000 online". */
function nameWithoutBatch({ name }: Row): string {
  return name.replace(/,? [\d,]+ in flight/, "");
}

/** How many nines a percentile has: 90 is 1, 99 is 2. One of `count` values has log10(count) of them at most. */
function nines(percentile: number, count: number): number {
  return Math.min(-Math.log10(1 - percentile / 100), Math.log10(Math.max(count, 10)));
}

/** One plot, or several where there are more lines than colours. */
function inPlots(axes: Axes, lines: readonly Line[], palette: Palette): Plot[] {
  const drawn = lines.filter(({ points }) => points.length > 0);
  const plots: Plot[] = [];
  for (let i = 0; i < drawn.length; i += paletteSize) {
    const some = drawn.slice(i, i + paletteSize);
    plots.push({
      ...axes,
      title: i === 0 ? axes.title : `${axes.title} (${i / paletteSize + 1})`,
      summary: summaryOf(axes, some),
      lines: some.map(({ label, isReference = false }) => ({
        label,
        colour: palette.colourOf(label),
        isReference,
      })),
      columns: align(some),
    });
  }
  return plots;
}

/** Lines of their own x values as columns over all of them. */
function align(lines: readonly Line[]): Plot["columns"] {
  const x = [...new Set(lines.flatMap(({ points }) => points.map(([at]) => at)))].sort((a, b) => a - b);
  const y = lines.map(({ points }) => {
    const values = new Map(points);
    return x.map((at) => values.get(at) ?? null);
  });
  return [x, ...y];
}

function summaryOf({ title, y, marks }: Axes, lines: readonly Line[]): string {
  const ranges = lines.map(({ label, points }) => {
    const values = points.map(([, value]) => value);
    const [least, most] = [Math.min(...values), Math.max(...values)].map((value) =>
      value.toLocaleString("en", { maximumSignificantDigits: 3 }),
    );
    return `${label} from ${least} to ${most}`;
  });
  const done = marks.map(({ x, label }) => ` At ${x.toFixed(1)} s ${label}.`).join("");
  return `${title}, in ${y.label}: ${ranges.join("; ")}.${done}`;
}

function groupBy<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** Gives each label its colour, in the order they come. */
class Palette {
  readonly #places = new Map<string, number>();

  colourOf(label: string): number {
    let place = this.#places.get(label);
    if (place === undefined) this.#places.set(label, (place = this.#places.size % paletteSize));
    return place;
  }
}
