/* The script of the page: draws the plots that stand on it as JSON, with uPlot, and keeps them in shape.
 *
 * It runs in a browser as it stands here, so it is text and no module. Colours are asked of the style sheet whenever
 * something is drawn, so that a change of theme, and paper, need no more than drawing anew. */

export const pageScript = `(() => {
"use strict";
const plots = JSON.parse(document.getElementById("plots").textContent);
const root = document.documentElement;
const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const dashes = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 5], [14, 4], [1, 5], [8, 3, 2, 3, 2, 3]];
const height = 300;
const paper = { width: 660, height: 240 };

const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const exact = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const format = (value) => (value == null ? "–" : exact.format(value));

/** 2 nines as "99 %". */
function percent(nines) {
  const percentile = 100 * (1 - 10 ** -nines);
  return percentile.toFixed(Math.max(0, Math.ceil(nines) - 2)) + " %";
}

/** 1, 2 and 5 of each power of ten that fit between; the powers alone where these would crowd. */
function logSplits(least, most) {
  const factors = most / least > 150 ? [1] : [1, 2, 5];
  const splits = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) {
    for (const factor of factors) {
      const split = factor * 10 ** power;
      if (split >= least * 0.999 && split <= most * 1.001) splits.push(split);
    }
  }
  return splits;
}

/** The nearest 1, 2 or 5 of a power of ten, below or above. */
function rounded(value, direction) {
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 2, 5, 10].map((factor) => factor * power);
  return direction < 0 ? steps.findLast((step) => step <= value * 1.001) : steps.find((step) => step >= value * 0.999);
}

const xScales = {
  linear: { time: false, range: (_u, _least, most) => [0, most || 1] },
  nines: { time: false, range: (_u, _least, most) => [0, Math.max(1, most || 1)] },
  log2: { time: false, distr: 3, log: 2, range: (_u, least, most) => (least < most ? [least, most] : [least / 2, most * 2]) },
};
const xAxes = {
  linear: { values: (_u, splits) => splits.map((split) => exact.format(split)) },
  nines: {
    splits: (_u, _axis, _least, most) => [Math.log10(2), ...Array.from({ length: Math.floor(most + 0.001) }, (_, i) => i + 1)],
    values: (u, splits) => {
      const roomEach = (u.width - 80) / u.scales.x.max;
      const stride = Math.ceil(58 / roomEach);
      return splits.map((nines) => (nines < 1 ? roomEach > 60 : nines % stride === 0) ? percent(nines) : "");
    },
  },
  log2: { splits: (u) => u.data[0], filter: (_u, splits) => splits, values: (_u, splits) => splits.map((split) => exact.format(split)) },
};
const yScales = {
  linear: { range: (_u, _least, most) => [0, most > 0 ? most * 1.08 : 1] },
  log10: {
    distr: 3,
    log: 10,
    range: (_u, least, most) => {
      if (!(least > 0)) return [0.1, 1];
      const [from, to] = [rounded(least, -1), rounded(most, 1)];
      return from < to ? [from, to] : [from / 2, to * 2];
    },
  },
};
const yAxes = {
  linear: { values: (_u, splits) => splits.map((split) => short.format(split)) },
  log10: {
    splits: (_u, _axis, least, most) => logSplits(least, most),
    filter: (_u, splits) => splits,
    values: (_u, splits) => splits.map((split) => exact.format(split)),
  },
};

function axis(label) {
  return {
    label,
    labelSize: 22,
    font: "12px system-ui, sans-serif",
    labelFont: "12px system-ui, sans-serif",
    stroke: () => css("--muted"),
    grid: { stroke: () => css("--rule"), width: 1 },
    ticks: { stroke: () => css("--rule"), width: 1, size: 6 },
  };
}

function line({ label, colour, isReference }) {
  return {
    label,
    stroke: () => css(isReference ? "--text" : "--line-" + colour),
    width: isReference ? 1.5 : 2,
    dash: isReference ? [3, 4] : dashes[colour],
    spanGaps: true,
    points: { show: (u) => u.data[0].length <= 16, size: 6, fill: () => css("--page") },
    value: (_u, value) => format(value),
  };
}

/** An upright line for each mark, and what it says beside it, as far as there is room before the next. */
function drawMarks(u, marks) {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = css("--muted");
  ctx.lineWidth = ratio;
  ctx.font = 11 * ratio + "px system-ui, sans-serif";
  ctx.textAlign = "left";
  ctx.textBaseline = "top";
  const places = marks.map(({ x }) => u.valToPos(x, "x", true));
  for (const [i, { label }] of marks.entries()) {
    if (places[i] < left || places[i] > left + width) continue;
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(places[i], top);
    ctx.lineTo(places[i], top + height);
    ctx.stroke();
    const room = (places[i + 1] ?? left + width) - places[i] - 6 * ratio;
    if (ctx.measureText(label).width <= room) ctx.fillText(label, places[i] + 3 * ratio, top + 2 * ratio);
  }
  ctx.restore();
}

function draw(plot, place) {
  const { x, y, lines, columns, marks } = plot;
  const xValue = x.scale === "nines" ? percent : format;
  return new uPlot(
    {
      width: place.clientWidth,
      height,
      cursor: { y: false, points: { size: 7 } },
      legend: { markers: { width: 3 } },
      scales: { x: xScales[x.scale], y: yScales[y.scale] },
      axes: [
        { ...axis(x.label), ...xAxes[x.scale], size: 34 },
        { ...axis(y.label), ...yAxes[y.scale], size: 58 },
      ],
      hooks: { draw: [(u) => drawMarks(u, marks)] },
      series: [{ label: x.label, value: (_u, value) => (value == null ? "–" : xValue(value)) }, ...lines.map(line)],
    },
    columns,
    place,
  );
}

let onPaper = false;
const drawn = plots.map((plot, i) => {
  const place = document.getElementById("plot-" + i);
  const u = draw(plot, place);
  const wrap = u.root.querySelector(".u-wrap");
  wrap.setAttribute("role", "img");
  wrap.setAttribute("aria-label", plot.summary);
  new ResizeObserver(() => {
    if (!onPaper && place.clientWidth > 0 && place.clientWidth !== u.width) u.setSize({ width: place.clientWidth, height });
  }).observe(place);
  return { u, place };
});

const redraw = () => drawn.forEach(({ u }) => u.redraw(false));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("beforeprint", () => {
  onPaper = true;
  root.classList.add("paper");
  for (const { u } of drawn) u.setSize(paper);
});
addEventListener("afterprint", () => {
  onPaper = false;
  root.classList.remove("paper");
  for (const { u, place } of drawn) u.setSize({ width: place.clientWidth, height });
});
})();`;
