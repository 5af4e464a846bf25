/* The style sheet of the page: light and dark, wide and narrow, screen and paper.
 *
 * The colours of lines are those of Okabe and Ito (jfly.uni-koeln.de/color), which who sees few colours can tell apart, made darker or
 * lighter until each stands out from the page; lines differ in their dashes, too. */

const light = `
  --page: #ffffff; --raised: #f5f7f9; --text: #16202a; --muted: #55636f; --rule: #dde3e8; --accent: #00639c;
  --good: #00694d; --bad: #a83f00;
  --line-0: #0072b2; --line-1: #d55e00; --line-2: #008a65; --line-3: #b0568a;
  --line-4: #b07700; --line-5: #2a8fc4; --line-6: #6b5bb5; --line-7: #6d6d6d;`;

const dark = `
  --page: #12171c; --raised: #1a2128; --text: #e6ebef; --muted: #9eabb6; --rule: #2d363f; --accent: #6cbdf0;
  --good: #3fcf9f; --bad: #ff9a5c;
  --line-0: #4fb0ea; --line-1: #ff8a3d; --line-2: #2fcb9b; --line-3: #e39ac2;
  --line-4: #f0b429; --line-5: #93d3f7; --line-6: #a99cf0; --line-7: #b5b5b5;`;

export const pageStyle = `
:root { color-scheme: light dark; ${light} }
@media (prefers-color-scheme: dark) { :root { ${dark} } }
:root.paper { color-scheme: light; ${light} }
@media print { :root { color-scheme: light; ${light} } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main, header, nav { max-width: 84rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { max-width: 46rem; }
a { color: var(--accent); }
code { font: .875em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.lead, figcaption p, .notes { color: var(--muted); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: .6rem 1.5rem; margin: 1rem 0; padding: 1rem 1.25rem; background: var(--raised); border-radius: .5rem; }
dl > .wide { grid-column: 1 / -1; }
dt { color: var(--muted); font-size: .8rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 1rem 0; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; color: var(--muted); padding-bottom: .4rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--rule); white-space: nowrap; }
thead th small { display: block; font-weight: 400; color: var(--muted); }
tbody th { font-weight: 600; min-width: 9rem; }
.number { text-align: right; white-space: nowrap; }
.figures { font-size: .85rem; }
.figures th, .figures td { padding: .3rem .5rem; }
.figures th:first-child { padding-left: 0; }
.figures tbody th:first-child, .figures thead th:first-child { position: sticky; left: 0; background: var(--page); }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
.notes { padding-left: 1.2rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 32rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; margin-bottom: .25rem; }
figcaption p { font-weight: 400; margin: 0; }
.plot { min-width: 0; overflow: hidden; }
.uplot, .u-legend { font-family: inherit; }
.u-legend { font-size: .8rem; text-align: left; margin: 0; font-variant-numeric: tabular-nums; }
.u-legend th, .u-legend th > * { font-weight: 400; }
.u-legend th, .u-legend td { border: 0; padding: .1rem .25rem; min-width: 0; }
.u-legend.u-inline tr { margin-right: .75rem; }
.u-hz .u-cursor-x { border-color: var(--muted); }
.bars { width: 100%; margin-bottom: 1.25rem; }
.bars th { font-weight: 400; width: 11rem; padding-left: 0; }
.bars td { padding-right: 0; }
.bars .track { position: relative; display: block; height: 1.2rem; margin-right: 3.5rem; border-left: 1px solid var(--muted); }
.bars .bar { display: block; height: 100%; min-width: 2px; background: var(--line-7); border-radius: 0 .2rem .2rem 0; }
.bars .own .bar { background: var(--line-0); }
.bars .own th { font-weight: 600; }
.bars .one { position: absolute; top: -.45rem; bottom: -.45rem; border-left: 2px dashed var(--text); }
.bars .value { position: absolute; top: 0; padding-left: .4rem; line-height: 1.2rem; white-space: nowrap; }
footer { max-width: 84rem; margin: 3rem auto 2rem; padding: 0 1.25rem; color: var(--muted); font-size: .85rem; }
@media (max-width: 40rem) {
  main, header, nav, footer { padding-left: .9rem; padding-right: .9rem; }
  .bars th { width: 7.5rem; }
}
@page { margin: 14mm; }
@media print {
  body { font-size: 10pt; }
  main, header, nav, footer { max-width: none; padding: 0; }
  .plots { display: block; }
  figure { break-inside: avoid; margin-bottom: 1rem; }
  .scroll { overflow: visible; }
  .figures { font-size: 7pt; }
  .figures th, .figures td { padding: .2rem .3rem; }
  .figures thead th { white-space: normal; }
  .figures tbody th { min-width: 0; }
  .figures tbody th:first-child, .figures thead th:first-child { position: static; }
  tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .bar { print-color-adjust: exact; }
}`;
