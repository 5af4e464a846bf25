/* Metrics are made once for all who ask within a while. */

import tap from "tap";

import { SharedScrape } from "../../broker/shared-scrape.ts";

await tap.test("those who ask while a text is made, or soon after, get that one", async (t) => {
  let made = 0;
  const finish: (() => void)[] = [];
  const scrape = new SharedScrape(async () => {
    const number = ++made;
    await new Promise<void>((resolve) => finish.push(resolve));
    return `text ${number}`;
  }, 60_000);
  const first = Array.from({ length: 10 }, () => scrape.text());
  finish.pop()!();
  t.same(new Set(await Promise.all(first)), new Set(["text 1"]));
  t.equal(await scrape.text(), "text 1");
  t.equal(made, 1);
});

await tap.test("after that another is made; a slow one is not made twice at once", async (t) => {
  let made = 0;
  let finish: (() => void) | undefined;
  const scrape = new SharedScrape(async () => {
    const number = ++made;
    await new Promise<void>((resolve) => (finish = resolve));
    return `text ${number}`;
  }, 1);
  const slow = scrape.text();
  const begun = performance.now();
  while (performance.now() - begun < 5); // its time is over before it is made
  const also = scrape.text();
  finish!();
  t.same(await Promise.all([slow, also]), ["text 1", "text 1"]);
  const next = scrape.text();
  finish!();
  t.equal(await next, "text 2");
});

await tap.test("a fault is told to those who met it, and to nobody after", async (t) => {
  let made = 0;
  const scrape = new SharedScrape(async () => {
    if (++made === 1) throw new Error("a fault");
    return "text";
  }, 60_000);
  const [first, second] = [scrape.text(), scrape.text()];
  await t.rejects(first, /a fault/);
  await t.rejects(second, /a fault/);
  t.equal(await scrape.text(), "text");
});

await tap.test("where nothing is shared each gets its own", async (t) => {
  let made = 0;
  const scrape = new SharedScrape(async () => `text ${++made}`, 0);
  t.same(await Promise.all([scrape.text(), scrape.text()]), ["text 1", "text 2"]);
});
