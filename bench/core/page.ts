/* page: how long a page of a wide `home` takes, at the head and far behind it. */

import { type Figure, figureOf } from "../figure.ts";
import type { PageHandlers } from "../load/page.ts";
import type { PublishHandlers } from "../load/publish.ts";
import type { Run } from "../run.ts";

const authors = 1_000;
const items = 50;
const mostMs = 5;

export async function measurePage(run: Run): Promise<Figure[]> {
  const pages = run.size(150);
  const farBack = run.size(5_000);
  const broker = await run.startBroker();
  const publisher = run.startLoad<PublishHandlers>("publish");
  await publisher.ask("connect", { url: broker.url, connections: 1 });
  await publisher.ask("follow", { readers: 1, follows: authors, authors });
  // Enough to go back in without end: two pages for each that is counted, and some.
  const posts = farBack + (2 * pages + 4) * items;
  await publisher.ask("publish", { posts, authors, inFlight: 1_024 });
  await publisher.end();

  const load = run.startLoad<PageHandlers>("page");
  const figures: Figure[] = [];
  for (const back of [0, farBack]) {
    const where = back === 0 ? "the newest page" : `a page ${back.toLocaleString("en")} entries back`;
    const { result, server: spent } = await run.phase(where, 2 * pages, (progress) =>
      broker.observe(() =>
        load.ask("read", { url: broker.url, reader: "r0", author: "a0", pages, items, back }, progress),
      ),
    );
    for (const [way, quantiles] of [
      ["SDK", result.sdk],
      ["HTTP", result.http],
    ] as const) {
      figures.push(
        figureOf({
          part: "page",
          name: `${where} of home, by ${way}`,
          value: quantiles.p50Ms,
          unit: "ms",
          atMost: mostMs,
          loads: [result.spent],
          broker: spent,
          note: `p50; p99 ${quantiles.p99Ms.toFixed(2)} ms; ${items} posts of ${authors.toLocaleString("en")} authors followed`,
        }),
      );
    }
  }
  await load.end();
  await broker.stop();
  return figures;
}
