/* The comparison at a glance: targets as columns, what was measured as lines.
 *
 * Closed rounds are told as the server's CPU for a delivery, as a multiple of the baseline's; paced ones by p99; idle
 * sessions by their bytes. */

import { alignedTable } from "../report/markdown.ts";
import { ratioOf } from "../report/figures.ts";
import type { Row } from "../report/result.ts";
import { digits } from "../report/table.ts";

const idle = "idle";

interface Line {
  name: string;
  cell: (row: Row) => string;
  isOf: (row: Row) => boolean;
}

/** Lines of Markdown; none when nothing was compared. Rows of the baseline itself are not shown. */
export function comparisonTable(rows: readonly Row[]): string[] {
  const compared = rows.filter((row) => isBroken(row) || row.baseline !== undefined || row.workload === idle);
  const targets = [...new Set(compared.map(({ target }) => target))];
  const lines = linesOf(compared);
  if (lines.length === 0) return [];
  const cellAt = (line: Line, target: string): string => {
    const row = compared.find((each) => each.target === target && line.isOf(each));
    return row === undefined ? "" : isBroken(row) ? "breaks down" : line.cell(row);
  };
  return alignedTable(
    ["", ...targets],
    lines.map((line) => [line.name].concat(targets.map((target) => cellAt(line, target)))),
    new Set(targets.map((_, i) => i + 1)),
  );
}

/** What broke down was not measured. */
function isBroken({ cpu, memory }: Row): boolean {
  return cpu === undefined && memory === undefined;
}

function linesOf(rows: readonly Row[]): Line[] {
  const names = new Set(rows.filter(({ workload }) => workload !== idle).map(fullName));
  const lines = [...names].map((name): Line => {
    const isOf = (row: Row): boolean => fullName(row) === name;
    const isPaced = rows.some((row) => isOf(row) && row.parameters["pacedPerSecond"] !== undefined);
    if (isPaced) return { name: `${name}: p99 in ms`, isOf, cell: ({ latency }) => digits(latency?.p99) };
    return { name, isOf, cell: (row) => ratioOf(row)?.toFixed(2) ?? "" };
  });
  // Sessions of ours follow more than a peer's: their rows have other names.
  const idleRow = rows.find(({ workload }) => workload === idle);
  if (idleRow === undefined) return lines;
  const sessions = Number(idleRow.parameters["sessions"]).toLocaleString("en");
  return [
    ...lines,
    {
      name: `bytes for an idle session, of ${sessions}`,
      isOf: ({ workload }) => workload === idle,
      cell: ({ memory }) => digits(memory?.bytesPerSession),
    },
  ];
}

function fullName({ workload, name }: Row): string {
  return `${workload}, ${name}`;
}
