/* Report: what a run measured, as a table of Markdown that reads well in a terminal too, and as a result like any workload's. */

import type { Figure, Target } from "../figure.ts";
import type { Machine } from "../machine.ts";
import { type Goal, type Row, type RunResult, resultVersion } from "../report/result.ts";

export interface Report {
  /** The command that measures it again. */
  command: string;
  /** When it began, ISO 8601. */
  at: string;
  version: string;
  seconds: number;
  machine: Machine;
  /** The part of every size that was measured; below 1 the figures say little of the broker. */
  scale: number;
  figures: Figure[];
}

const headings = ["figure", "measured", "target", "reached", "load CPU", "broker CPU"];
/** Columns of numbers, set to the right. */
const rightColumns = new Set([1, 2, 4, 5]);

/** The whole report, as printed and as kept in RESULTS.md. */
export function renderReport(report: Report): string {
  const { machine } = report;
  const conditions = [
    `\`${report.command}\`, ${report.at.slice(0, 10)}, whalesong ${report.version} (${machine.broker}), ${Math.round(report.seconds)} s.`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB; ${machine.system}; Node.js ${machine.node}; ` +
      `data on ${machine.fileSystem}; ${machine.openFiles.toLocaleString("en")} open files; load before ${machine.loadBefore}.`,
  ];
  conditions.push(...scaleNote(report));
  const notes = report.figures.flatMap(({ name, note }) => (note === "" ? [] : [`- ${name}: ${note}.`]));
  return [...conditions, "", ...renderTable(report.figures), "", ...notes, "", legend(report.figures)].join(
    "\n",
  );
}

/** As `compare` and the page take it: a row for each figure. */
export function resultOf(report: Report): RunResult {
  const { command, at, version, seconds, machine, figures } = report;
  return {
    version: resultVersion,
    command,
    workload: "core",
    at,
    seconds,
    whalesong: version,
    machine,
    rows: figures.map((figure) => rowOf(figure, version)),
    notes: scaleNote(report),
  };
}

function rowOf(figure: Figure, version: string): Row {
  const { part, name, value, unit, better, seconds, target, loadCpu, loadLimited, loadProcesses } = figure;
  const row: Row = {
    workload: "core",
    name,
    target: `whalesong ${version}`,
    parameters: { part },
    seconds,
    measures: [
      { name: "measured", value, unit, better },
      { name: "broker CPU", value: figure.brokerCpu * 100, unit: "%" },
    ],
    load: { processes: loadProcesses, cpuShare: loadCpu, isBottleneck: loadLimited },
    notes: figure.note === "" ? [] : [`${figure.note}.`],
  };
  if (target !== undefined) row.goals = [goalOf(figure, target)];
  return row;
}

function goalOf({ value, unit }: Figure, target: Target): Goal {
  const bound = target.kind === "least" ? { atLeast: target.value } : { atMost: target.value };
  return { what: "measured", measured: value, unit, ...bound };
}

function scaleNote({ scale }: Report): string[] {
  return scale < 1 ? [`Only ${percent(scale)} of every size: the figures say little of the broker.`] : [];
}

function renderTable(figures: readonly Figure[]): string[] {
  const rows = [headings, ...figures.map(cells)];
  const widths = headings.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => (rightColumns.has(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join(" | ")} |`;
  const rule = widths.map((width, i) =>
    rightColumns.has(i) ? `${"-".repeat(width - 1)}:` : "-".repeat(width),
  );
  return [line(headings), line(rule), ...rows.slice(1).map(line)];
}

function cells(figure: Figure): string[] {
  const { name, value, unit, target, reached, loadCpu, brokerCpu, loadLimited } = figure;
  return [
    name,
    `${format(value)} ${unit}`,
    target === undefined ? "" : `${target.kind === "least" ? "≥" : "≤"} ${format(target.value)}`,
    reached === undefined ? "" : reached ? "yes" : "**no**",
    `${percent(loadCpu)}${loadLimited ? "*" : ""}`,
    percent(brokerCpu),
  ];
}

function legend(figures: readonly Figure[]): string {
  const cpu = "CPU is of one core, the busiest load process's and the broker's with all its threads.";
  return figures.some((figure) => figure.loadLimited)
    ? `${cpu} With * the load had next to none of its core left: it, not the broker, may have been the limit.`
    : cpu;
}

/** Three digits at least, whole numbers from 100 on. */
function format(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 10 ? 1 : value >= 1 ? 2 : 3);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
