/* The page: one or several results as one HTML file that needs nothing else.
 *
 *   head ─ for each result: what, when and on what; figures; goals; plots; notes
 *
 * uPlot and the data are inlined, and the page's own policy forbids it to load anything. What comes out of a result is
 * escaped wherever it stands. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { type Comparison, compare } from "./compare.ts";
import { barTable, comparisonTable, figureTable, goalTable, measureTable } from "./html-tables.ts";
import { type Html, html, jsonScript, nothing, script, style } from "./markup.ts";
import { pageScript } from "./page-script.ts";
import { pageStyle } from "./page-style.ts";
import { type Plot, barsOf, plotsOf } from "./plots.ts";
import type { RunResult } from "./result.ts";

const policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:";
const { resolve } = createRequire(import.meta.url);

/** A whole HTML document. */
export function renderHtml(results: RunResult | RunResult[]): string {
  const all = Array.isArray(results) ? results : [results];
  return page(
    all,
    nothing,
    `whalesong bench: ${[...new Set(all.map(({ workload }) => workload))].join(", ")}`,
  );
}

/** A whole HTML document that sets two results side by side, with the plots of both below. */
export function renderComparisonHtml(before: RunResult, after: RunResult): string {
  return page([before, after], comparisonSection(compare(before, after)), "whalesong bench: a comparison");
}

function page(results: readonly RunResult[], opening: Html, title: string): string {
  const plots: Plot[] = [];
  const sections = results.map((result, i) => section(result, i, plots));
  const document = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="color-scheme" content="light dark" />
        <link rel="icon" href="data:," />
        <title>${title}</title>
        ${style(uPlotFile("uPlot.min.css"))} ${style(pageStyle)}
      </head>
      <body>
        <header><h1>${title}</h1></header>
        ${results.length > 1 ? contents(results) : nothing}
        <main>
          ${opening} ${sections}
          <noscript><p>The plots need JavaScript. All figures are in the tables.</p></noscript>
        </main>
        <footer>
          CPU times are of the server, latencies from publish to receipt. Plots by uPlot (MIT licence).
        </footer>
        ${jsonScript("plots", plots)} ${script(uPlotFile("uPlot.iife.min.js"))} ${script(pageScript)}
      </body>
    </html> `;
  return document.text.trimStart();
}

function contents(results: readonly RunResult[]): Html {
  return html`<nav aria-label="Results">
    <ol>
      ${results.map(
        (result, i) =>
          html`<li>
            <a href="#result-${i}">${result.workload}</a>, ${result.at}, whalesong ${result.whalesong}
          </li>`,
      )}
    </ol>
  </nav>`;
}

/** `plots` takes the plots of all sections: their places on the page are numbered throughout. */
function section(result: RunResult, index: number, plots: Plot[]): Html {
  const own = plotsOf(result);
  const figures = own.map((plot, i) => plotFigure(plot, plots.length + i));
  plots.push(...own);
  const bars = barsOf(result);
  const label = `${result.workload}, ${result.at}`;
  return html`<section id="result-${index}" aria-labelledby="title-${index}">
    <h2 id="title-${index}">${result.workload}</h2>
    ${head(result)} ${figureTable(result, `Figures: ${label}`)}
    ${measureTable(result, `Further figures: ${label}`)} ${goalTable(result, `Goals: ${label}`)}
    ${notes(result)}
    ${
      bars.length === 0
        ? nothing
        : html`<figure>
            <figcaption>
              CPU for a delivery, as a multiple of the baseline’s
              <p>Shorter is better.</p>
            </figcaption>
            ${bars.map(barTable)}
          </figure>`
    }
    <div class="plots">${figures}</div>
  </section> `;
}

function plotFigure({ title }: Plot, index: number): Html {
  return html`<figure>
    <figcaption id="caption-${index}">${title}</figcaption>
    <div class="plot" id="plot-${index}"></div>
  </figure> `;
}

function head({ command, at, seconds, whalesong, machine }: RunResult): Html {
  const facts: [term: string, text: string | Html, isWide?: boolean][] = [
    ["command", html`<code>${command}</code>`, true],
    ["when", html`<time datetime="${at}">${at.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC")}</time>`],
    ["took", `${Math.round(seconds).toLocaleString("en")} s`],
    ["whalesong", `${whalesong}, ${machine.broker}`],
    ["machine", `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB`],
    ["system", `${machine.system}, Node.js ${machine.node}`],
    ["data on", machine.fileSystem],
    ["open files", machine.openFiles.toLocaleString("en")],
    ["busy before", `${machine.loadBefore} processes wanted to run`],
  ];
  return html`<dl>
    ${facts.map(
      ([term, text, isWide]) =>
        html`<div${isWide === true ? html` class="wide"` : nothing}><dt>${term}</dt><dd>${text}</dd></div>`,
    )}
  </dl>`;
}

function notes(result: RunResult): Html {
  const { rows } = result;
  const sentences = [
    ...result.notes,
    ...rows.flatMap((row) => row.notes.map((note) => `${row.name}, ${row.target}: ${note}`)),
  ];
  if (rows.some(({ load }) => load.isBottleneck))
    sentences.push(
      "* The load had next to none of its core left: it, not the server, may have been the limit.",
    );
  if (rows.some(({ latency }) => latency?.corrected === true))
    sentences.push("Latencies of paced load count the waits that a late load hid (coordinated omission).");
  if (sentences.length === 0) return nothing;
  return html`<ul class="notes">
    ${sentences.map((text) => html`<li>${text}</li>`)}
  </ul>`;
}

function comparisonSection(comparison: Comparison): Html {
  return html`<section aria-labelledby="comparison">
    <h2 id="comparison">Before and after</h2>
    <dl>
      <div class="wide">
        <dt>before</dt>
        <dd><code>${comparison.before.command}</code>, ${comparison.before.at}</dd>
      </div>
      <div class="wide">
        <dt>after</dt>
        <dd><code>${comparison.after.command}</code>, ${comparison.after.at}</dd>
      </div>
    </dl>
    <ul class="notes">
      ${comparison.differences.map((text) => html`<li>${text}</li>`)}
    </ul>
    ${comparisonTable(comparison)}
  </section> `;
}

function uPlotFile(name: string): string {
  return readFileSync(resolve(`uplot/dist/${name}`), "utf8");
}
