/* Figures: what a row of a result tells, one by one: its name, its unit, whether more or less of it is better.
 *
 * The page's table and the comparison go by this list, so that they agree in words and in digits. */

import type { Row, RunResult } from "./result.ts";

export interface Figure {
  /** Short enough for the head of a column, and the only one of its name. */
  name: string;
  unit: string;
  /** What it says, as a sentence. */
  meaning: string;
  /** Absent where neither is: how busy something was. */
  better?: "more" | "less";
  /** Absent where the row does not tell. */
  of(row: Row): number | undefined;
}

export const figures: readonly Figure[] = [
  {
    name: "deliveries",
    unit: "/s",
    meaning: "Events that reached a reader, each second.",
    better: "more",
    of: ({ deliveries, seconds }) => rate(deliveries, seconds),
  },
  {
    name: "posts",
    unit: "/s",
    meaning: "Posts that were published and answered, each second.",
    better: "more",
    of: ({ publishes, seconds }) => rate(publishes, seconds),
  },
  {
    name: "CPU",
    unit: "µs",
    meaning: "CPU time of the server's processes for a delivery (for a publish where nothing is delivered).",
    better: "less",
    of: cpuOf,
  },
  {
    name: "user",
    unit: "µs",
    meaning: "The part of it that the server's own code took.",
    better: "less",
    of: ({ cpu }) => cpu?.userUs,
  },
  {
    name: "system",
    unit: "µs",
    meaning: "The part of it that the kernel took.",
    better: "less",
    of: ({ cpu }) => cpu?.systemUs,
  },
  {
    name: "of baseline",
    unit: "×",
    meaning: "That CPU time as a multiple of what a loop that does nothing but send took in the same run.",
    better: "less",
    of: ratioOf,
  },
  {
    name: "wire",
    unit: "bytes",
    meaning: "Bytes that a reader reads for a delivery: the post and all that is around it.",
    better: "less",
    of: ({ wireBytes }) => wireBytes,
  },
  latency("p50", "Half of the deliveries came as soon as this or sooner, from publish to receipt."),
  latency("p90", "90 % of the deliveries came as soon as this or sooner."),
  latency("p99", "99 % of the deliveries came as soon as this or sooner."),
  latency("p999", "99.9 % of the deliveries came as soon as this or sooner.", "p99.9"),
  latency("max", "The latest delivery."),
  {
    name: "loop p99",
    unit: "ms",
    meaning: "How late the server's event loop was for what was due, 99 % of the time at most.",
    better: "less",
    of: ({ loopDelay }) => loopDelay?.p99,
  },
  {
    name: "memory",
    unit: "MB",
    meaning: "Resident memory of the server's processes.",
    better: "less",
    of: ({ memory }) => (memory === undefined ? undefined : memory.rssBytes / 1e6),
  },
  {
    name: "session",
    unit: "bytes",
    meaning: "Memory for each session.",
    better: "less",
    of: ({ memory }) => memory?.bytesPerSession,
  },
  {
    name: "server",
    unit: "%",
    meaning: "How busy the server was, of one core.",
    of: ({ cpu }) => (cpu === undefined ? undefined : cpu.share * 100),
  },
  {
    name: "load",
    unit: "%",
    meaning: "How busy the busiest load process was, of one core.",
    of: ({ load }) => load.cpuShare * 100,
  },
];

/** What these rows measured beside that, as figures: one for each name. */
export function measuresOf(rows: readonly Row[]): Figure[] {
  const found = new Map<string, Figure>();
  for (const { name, unit, better } of rows.flatMap(({ measures = [] }) => measures)) {
    const of = (row: Row): number | undefined =>
      row.measures?.find((each) => each.name === name && each.unit === unit)?.value;
    const figure: Figure = { name, unit, meaning: `${name}, in ${unit}.`, of };
    const key = JSON.stringify([name, unit]);
    if (!found.has(key)) found.set(key, better === undefined ? figure : { ...figure, better });
  }
  return [...found.values()];
}

/** CPU time for a delivery, user and system together, in µs. */
export function cpuOf({ cpu }: Row): number | undefined {
  return cpu === undefined ? undefined : cpu.userUs + cpu.systemUs;
}

/** CPU time for a delivery as a multiple of the baseline's. */
export function ratioOf(row: Row): number | undefined {
  const cpu = cpuOf(row);
  return cpu === undefined || row.baseline === undefined ? undefined : cpu / row.baseline.cpuUs;
}

/** Those that at least one of the rows tells. */
export function figuresOf(rows: readonly Row[]): Figure[] {
  return figures.filter((figure) => rows.some((row) => figure.of(row) !== undefined));
}

/** The rows with names that tell them apart also where they are of several workloads. */
export function namedRows({ rows }: RunResult): Row[] {
  if (new Set(rows.map(({ workload }) => workload)).size < 2) return rows;
  return rows.map((row) => ({ ...row, name: fullName(row) }));
}

/** "whale: 1,000 online, 32 in flight". */
export function fullName({ workload, name }: Row): string {
  return `${workload}: ${name}`;
}

/** Three digits at least, whole numbers from 100 on: 1,234,567; 12.3; 0.0417. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en");
  if (size === 0) return "0";
  return value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : Math.min(6, 2 - Math.floor(Math.log10(size))));
}

function latency(key: "p50" | "p90" | "p99" | "p999" | "max", meaning: string, name: string = key): Figure {
  return { name, unit: "ms", meaning, better: "less", of: (row) => row.latency?.[key] };
}

function rate(count: number | undefined, seconds: number): number | undefined {
  return count === undefined || count === 0 || seconds === 0 ? undefined : count / seconds;
}
