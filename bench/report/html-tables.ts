/* The page's tables: figures, goals, bars, comparison. All of them are real tables, readable without the plots. */

import { type ComparedRow, type Comparison, targetsOf, verdictLegend } from "./compare.ts";
import { type Figure, figuresOf, formatNumber, fullName, namedRows } from "./figures.ts";
import { type Html, html, nothing } from "./markup.ts";
import type { Bars } from "./plots.ts";
import type { Goal, Row, RunResult } from "./result.ts";
import { isReached } from "./table.ts";

/** Every row with every figure that any of them tells. */
export function figureTable(result: RunResult, label: string): Html {
  const rows = namedRows(result);
  const columns = figuresOf(rows);
  return scrolling(
    label,
    html`<table class="figures">
      <caption>
        What was measured. – stands for what could not be measured.
      </caption>
      <thead>
        <tr>
          <th scope="col">measured</th>
          <th scope="col">at</th>
          ${columns.map(columnHead)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              <th scope="row">${row.name}</th>
              <td>${row.target}</td>
              ${columns.map((column) => figureCell(column, row))}
            </tr> `,
        )}
      </tbody>
    </table>`,
  );
}

/** What else rows measured: a line for each. */
export function measureTable(result: RunResult, label: string): Html {
  const measures = namedRows(result).flatMap((row) =>
    (row.measures ?? []).map((measure) => ({ row, measure })),
  );
  if (measures.length === 0) return nothing;
  return scrolling(
    label,
    html`<table class="measures">
      <caption>
        What was measured beside that.
      </caption>
      <thead>
        <tr>
          <th scope="col">measured</th>
          <th scope="col">at</th>
          <th scope="col">what</th>
          <th scope="col" class="number">value</th>
          <th scope="col">unit</th>
        </tr>
      </thead>
      <tbody>
        ${measures.map(
          ({ row, measure: { name, value, unit } }) =>
            html`<tr>
              <th scope="row">${row.name}</th>
              <td>${row.target}</td>
              <td>${name}</td>
              <td class="number">${formatNumber(value)}</td>
              <td>${unit}</td>
            </tr> `,
        )}
      </tbody>
    </table>`,
  );
}

/** The bars set beforehand, and whether they were reached. */
export function goalTable(result: RunResult, label: string): Html {
  const goals = namedRows(result).flatMap((row) => (row.goals ?? []).map((goal) => ({ row, goal })));
  if (goals.length === 0) return nothing;
  return scrolling(
    label,
    html`<table>
      <caption>
        What was to be reached.
      </caption>
      <thead>
        <tr>
          <th scope="col">measured</th>
          <th scope="col">at</th>
          <th scope="col">what</th>
          <th scope="col" class="number">measured</th>
          <th scope="col" class="number">goal</th>
          <th scope="col">reached</th>
        </tr>
      </thead>
      <tbody>
        ${goals.map(
          ({ row, goal }) =>
            html`<tr>
              <th scope="row">${row.name}</th>
              <td>${row.target}</td>
              <td>${goal.what}</td>
              <td class="number">${formatNumber(goal.measured)} ${goal.unit}</td>
              <td class="number">${boundOf(goal)}</td>
              <td>${verdict(isReached(goal) ? "good" : "bad", isReached(goal) ? "yes" : "no")}</td>
            </tr> `,
        )}
      </tbody>
    </table>`,
  );
}

/** CPU ratios as bars; a dashed line stands at 1. `own` bars are set off. */
export function barTable({ name, baseline, bars }: Bars): Html {
  const most = Math.max(1, ...bars.map(({ ratio }) => ratio));
  const place = (ratio: number): string => `${((ratio / most) * 100).toFixed(2)}%`;
  return html`<table class="bars">
    <caption>
      ${name}; 1 is ${baseline}
    </caption>
    <tbody>
      ${bars.map(
        ({
          label,
          ratio,
        }) => html`<tr${isOwn(label)}><th scope="row">${label}</th><td><span class="track"><span class="bar" style="width:${place(ratio)}"></span><span class="one" style="left:${place(1)}"></span><span class="value" style="left:${place(ratio)}">${formatNumber(ratio)} ×</span></span></td></tr>
`,
      )}
    </tbody>
  </table>`;
}

/** Two results, figure by figure. */
export function comparisonTable({ rows, onlyBefore, onlyAfter }: Comparison): Html {
  const table = html`<table>
    <caption>
      ${verdictLegend}
    </caption>
    <thead>
      <tr>
        <th scope="col">measured</th>
        <th scope="col">at</th>
        <th scope="col">figure</th>
        <th scope="col" class="number">before</th>
        <th scope="col" class="number">after</th>
        <th scope="col" class="number">ratio</th>
        <th scope="col">after is</th>
      </tr>
    </thead>
    ${rows.map(comparedBody)}
  </table>`;
  return html`${rows.length === 0 ? nothing : scrolling("Comparison", table)}
  ${onlyList("before", onlyBefore)}${onlyList("after", onlyAfter)}`;
}

function comparedBody(row: ComparedRow): Html {
  return html`<tbody>
    ${row.figures.map(
      ({ figure, before, after, ratio, verdict: judged }, i) =>
        html`<tr>
          ${
            i > 0
              ? nothing
              : html`<th scope="rowgroup" rowspan="${row.figures.length}">${fullName(row.before)}</th>
                  <td rowspan="${row.figures.length}">${targetsOf(row)}</td>`
          }
          <td>${figure.name}, ${figure.unit}</td>
          <td class="number">${shown(before)}</td>
          <td class="number">${shown(after)}</td>
          <td class="number">${ratio === undefined ? "" : ratio.toFixed(2)}</td>
          <td>${judged === undefined ? nothing : verdict(judged === "better" ? "good" : "bad", judged)}</td>
        </tr> `,
    )}
  </tbody>`;
}

function onlyList(side: string, rows: readonly Row[]): Html {
  if (rows.length === 0) return nothing;
  return html`<h3>Only ${side}</h3>
    <ul>
      ${rows.map((row) => html`<li>${fullName(row)}, at ${row.target}</li>`)}
    </ul>`;
}

function columnHead({ name, unit, meaning }: Figure): Html {
  return html`<th scope="col" class="number" title="${meaning}">${name}<small>${unit}</small></th>`;
}

function figureCell(figure: Figure, row: Row): Html {
  const isLimit = figure.name === "load" && row.load.isBottleneck;
  return html`<td class="number">${shown(figure.of(row))}${isLimit ? "*" : ""}</td>`;
}

function shown(value: number | undefined): string {
  return value === undefined ? "–" : formatNumber(value);
}

function boundOf({ atMost, atLeast, unit }: Goal): string {
  const bounds = [
    ...(atLeast === undefined ? [] : [`≥ ${formatNumber(atLeast)}`]),
    ...(atMost === undefined ? [] : [`≤ ${formatNumber(atMost)}`]),
  ];
  return `${bounds.join(", ")} ${unit}`;
}

function verdict(kind: "good" | "bad", text: string): Html {
  return html`<span class="${kind}">${text}</span>`;
}

function isOwn(label: string): Html {
  return label.startsWith("whalesong") ? html` class="own"` : nothing;
}

/** A wide table scrolls by itself, also with the keyboard, and leaves the page in its place. */
function scrolling(label: string, table: Html): Html {
  return html`<div class="scroll" role="region" aria-label="${label}" tabindex="0">${table}</div> `;
}
