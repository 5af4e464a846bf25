/* The page of a result, in a real browser: complete, drawn, and harmless whatever stands in it. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import tap, { type Test } from "tap";

import { figures } from "../../bench/report/figures.ts";
import { renderComparisonHtml, renderHtml } from "../../bench/report/html.ts";
import { hasChromium, launchChromium } from "../browser/chromium.ts";
import { minimalResult, ownResult, richResult } from "./report-examples.ts";

/** What a plot shows: its title, and how much of each of its lines' colours is on its canvas. */
interface Drawn {
  title: string;
  width: number;
  label: string;
  pixels: number[];
}

/** How many pixels of the first plot anything is drawn on. */
const inkOfPlot = `(() => {
  const canvas = document.querySelector(".plot canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let ink = 0;
  for (let i = 3; i < data.length; i += 4) if (data[i] > 0) ink++;
  return ink;
})()`;

const readPlots = `[...document.querySelectorAll(".plot")].map((place, i) => {
  const lines = JSON.parse(document.getElementById("plots").textContent)[i].lines;
  const canvas = place.querySelector("canvas");
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const pen = copy.getContext("2d", { willReadFrequently: true });
  pen.drawImage(canvas, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  const pixelsOf = (colour) => {
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
    let count = 0;
    for (let at = 0; at < data.length; at += 4) {
      if (data[at + 3] > 200 && Math.hypot(data[at] - r, data[at + 1] - g, data[at + 2] - b) < 24) count++;
    }
    return count;
  };
  const style = getComputedStyle(document.documentElement);
  return {
    title: place.previousElementSibling.textContent,
    width: canvas.getBoundingClientRect().width,
    label: place.querySelector("[role=img]").getAttribute("aria-label"),
    pixels: lines.map(({ colour, isReference }) => pixelsOf(style.getPropertyValue(isReference ? "--text" : "--line-" + colour))),
  };
})`;

if (hasChromium()) await runAll();

async function runAll(): Promise<void> {
  const browser = await launchChromium();
  tap.teardown(() => browser.close());

  for (const colorScheme of ["light", "dark"] as const) {
    await tap.test(`${colorScheme}: every plot of a peers run is drawn, with all its lines`, async (t) => {
      const page = await open(t, browser, renderHtml(richResult()), { colorScheme });
      const plots = await page.evaluate<Drawn[]>(readPlots);
      t.strictSame(
        [...new Set(plots.map(({ title }) => title.replace(/:.*/, "")))],
        [
          "Latency from publish to receipt",
          "CPU for a delivery by batch size",
          "Deliveries over time",
          "p99 over time",
          "Memory over time",
        ],
      );
      for (const { title, label, pixels } of plots) {
        t.ok(pixels.length >= 4, `${title}: a line for each target`);
        for (const [i, count] of pixels.entries())
          t.ok(count > 10, `${title}: line ${i} has ${count} pixels`);
        t.match(label, /whalesong 0\.1\.0 from [\d.,]+ to [\d.,]+/, `${title}: is said in words, too`);
      }
      t.equal(await page.locator(".bars tbody tr").count(), 12, "a bar for each target and batch size");
      const own = await page.locator(".bars").first().locator(".own").innerText();
      t.match(own, /whalesong 0\.1\.0\s+1\.21 ×/);
    });
  }

  await tap.test("one target: user, system and their sum by batch size, with the baseline", async (t) => {
    const page = await open(t, browser, renderHtml(ownResult()));
    const plots = await page.evaluate<Drawn[]>(readPlots);
    const batch = plots.find(({ title }) => title === "CPU for a delivery by batch size: 1,000 online");
    for (const line of ["user and system", "user", "system", "a C loop of send()"])
      t.ok(batch?.label.includes(` ${line} from `), line);
    t.ok(batch?.pixels.every((count) => count > 10));
    t.equal(await page.locator(".bars").count(), 0, "no bars: there is nobody to compare with");
  });

  await tap.test("sessions that came back are drawn, with what was done meanwhile", async (t) => {
    const result = minimalResult();
    const [row] = result.rows;
    const at = Array.from({ length: 100 }, (_, i) => (i + 1) / 10);
    row!.series = {
      at,
      deliveriesPerSecond: at.map(() => 0),
      reconnects100Ms: at.map((s) => (s > 3 ? 4 : 0)),
    };
    const withoutMarks = await open(t, browser, renderHtml(result));
    const [bare] = await withoutMarks.evaluate<Drawn[]>(readPlots);
    row!.marks = [
      { at: 2, label: "node 1 drains" },
      { at: 5, label: "node 1 is back" },
    ];
    const page = await open(t, browser, renderHtml(result));
    const [plot] = await page.evaluate<Drawn[]>(readPlots);
    t.equal(plot!.title, "Sessions that came back, over time");
    t.ok(plot!.pixels[0]! > 10);
    t.match(plot!.label, /At 2\.0 s node 1 drains\. At 5\.0 s node 1 is back\./);
    t.notMatch(bare!.label, /drains/);
    const inks = await Promise.all([withoutMarks, page].map((each) => each.evaluate<number>(inkOfPlot)));
    t.ok(inks[1]! > inks[0]! + 200, `the marks are drawn: ${inks.join(", ")} pixels`);
  });

  await tap.test("the table holds each figure of each row, and says what is missing", async (t) => {
    const result = richResult();
    delete result.rows[0]!.memory;
    const page = await open(t, browser, renderHtml(result));
    const rows = await page.locator(".figures tbody tr").allInnerTexts();
    t.equal(rows.length, result.rows.length);
    t.equal(
      rows[0],
      "1,000 online, 1 in flight\twhalesong 0.1.0\t248,447\t248\t3.27\t0.980\t2.29\t1.21\t369\t3.09\t4.63\t7.72\t18.5\t27.8\t5.40\t–\t–\t97.0\t93.0*",
    );
    const heads = await page.locator(".figures thead th").allInnerTexts();
    t.strictSame(
      heads.slice(2).map((head) => head.replaceAll("\n", ", ")),
      figures.map(({ name, unit }) => `${name}, ${unit}`),
    );
    const measures = await page.locator(".measures tbody tr").allInnerTexts();
    t.equal(measures[2], "1,000 online, 32 in flight\twhalesong 0.1.0\tposts kept\t32,000\tposts");
    t.match(
      await page.locator(".notes").innerText(),
      /mosquitto is left out.*\n.*\* The load had next to none/s,
    );
    t.match(await page.locator("dl").innerText(), /npm run bench -- peers --json peers\.json/);
  });

  await tap.test(
    "a result that tells the least has a page, without plots and without empty columns",
    async (t) => {
      const page = await open(t, browser, renderHtml(minimalResult()));
      t.equal(await page.locator(".plot").count(), 0);
      t.strictSame(await page.locator(".figures thead th").allInnerTexts(), ["measured", "at", "load\n%"]);
    },
  );

  await tap.test("several results stand below each other, each with its own plots", async (t) => {
    const page = await open(t, browser, renderHtml([ownResult(), minimalResult(), ownResult()]));
    t.strictSame(await page.locator("h2").allInnerTexts(), ["whale", "idle", "whale"]);
    const perSection = (await page.evaluate<Drawn[]>(readPlots)).length / 2;
    t.equal(await page.locator("#result-0 .plot canvas").count(), perSection);
    t.equal(await page.locator("#result-2 .plot canvas").count(), perSection);
  });

  await tap.test("a comparison has its table above the plots of both", async (t) => {
    const after = ownResult();
    for (const { cpu } of after.rows) cpu!.userUs /= 2;
    const page = await open(t, browser, renderComparisonHtml(ownResult(), after));
    t.match(
      await page.locator("tbody tr", { hasText: "user, µs" }).first().innerText(),
      /0\.980\t0\.490\t0\.50\tbetter/,
    );
    t.strictSame(await page.locator("h2").allInnerTexts(), ["Before and after", "whale", "whale"]);
  });

  await tap.test("on a phone nothing but tables scrolls sideways, and plots fit", async (t) => {
    const page = await open(t, browser, renderHtml(richResult()), { viewport: { width: 360, height: 640 } });
    t.equal(await page.evaluate("document.documentElement.scrollWidth"), 360);
    for (const { title, width } of await page.evaluate<Drawn[]>(readPlots))
      t.ok(width <= 360, `${title}: ${width}`);
  });

  await tap.test("plots follow a change of theme and of width", async (t) => {
    const page = await open(t, browser, renderHtml(ownResult()), { colorScheme: "light" });
    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize({ width: 500, height: 800 });
    await until(
      page,
      `${readPlots}.every(({ width, pixels }) => width <= 500 && pixels.every((count) => count > 10))`,
    );
    t.pass("drawn anew");
  });

  await tap.test("on paper plots are light and fit; afterwards they are as before", async (t) => {
    const page = await open(t, browser, renderHtml(ownResult()), { colorScheme: "dark" });
    const before = (await page.evaluate<Drawn[]>(readPlots)).map(({ width }) => width);
    await page.evaluate(`dispatchEvent(new Event("beforeprint"))`);
    await until(
      page,
      `${readPlots}.every(({ width, pixels }) => width === 660 && pixels.every((count) => count > 10))`,
    );
    t.equal(await page.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");
    await page.evaluate(`dispatchEvent(new Event("afterprint"))`);
    await until(page, `${readPlots}.every(({ width }, i) => width === ${JSON.stringify(before)}[i])`);
    t.equal(await page.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(18, 23, 28)");
  });

  await tap.test("nothing in a result is taken for markup or script", async (t) => {
    const evil = `</script><script>globalThis.ran = 1</script><img src=x onerror="globalThis.ran = 2"><!-- <script> &amp;`;
    const result = richResult();
    result.command = evil;
    result.workload = evil;
    result.machine.cpu = evil;
    result.notes.push(evil);
    for (const row of result.rows)
      Object.assign(row, { workload: evil, name: `${row.name} ${evil}`, target: row.target + evil });
    result.rows[0]!.goals![0]!.what = evil;
    for (const text of [
      renderHtml([result, minimalResult()]),
      renderComparisonHtml(result, minimalResult()),
    ]) {
      const page = await open(t, browser, text);
      t.equal(await page.evaluate("globalThis.ran"), undefined);
      t.equal(await page.locator("img").count(), 0);
      t.ok((await page.locator(".notes").last().innerText()).includes(evil), "it stands there as text");
      t.ok(
        (await page.evaluate<Drawn[]>(readPlots)).every(({ pixels }) => pixels.every((count) => count > 10)),
      );
    }
  });
}

/** Waits until `expression` is true in the page. Playwright's own wait needs `eval`, which the page forbids itself. */
async function until(page: Page, expression: string): Promise<void> {
  const nextFrame = "new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))";
  do await page.evaluate(nextFrame);
  while (!(await page.evaluate<boolean>(expression)));
}

/** Opens a page from a file. Whatever it says on the console, and whatever it asks of the network, fails the test. */
async function open(
  t: Test,
  browser: Browser,
  text: string,
  options: BrowserContextOptions = {},
): Promise<Page> {
  const folder = mkdtempSync(join(tmpdir(), "whalesong-report-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "report.html");
  writeFileSync(file, text);
  const url = pathToFileURL(file).href;
  const context = await browser.newContext(options);
  t.teardown(() => context.close());
  const page = await context.newPage();
  page.on("console", (message) => t.fail(`console: ${message.text()}`));
  page.on("pageerror", (error) => t.fail(`in the page: ${error.message}`));
  page.on("request", (request) => {
    if (request.url() !== url) t.match(request.url(), /^data:,/, "nothing is loaded");
  });
  await page.goto(url);
  await until(
    page,
    `document.querySelectorAll(".plot").length === document.querySelectorAll(".plot canvas").length`,
  );
  return page;
}
