/* posts: durable posts a second through the SDK, many publishes in flight together. */

import { type Figure, figureOf } from "../figure.ts";
import type { PublishHandlers } from "../load/publish.ts";
import type { Run } from "../run.ts";

const authors = 1_000;
const leastPerSecond = 30_000;
const ways = [
  { name: "durable posts, one connection", connections: 1, inFlight: 1_024 },
  { name: "durable posts, 8 connections", connections: 8, inFlight: 256 },
];

export async function measurePosts(run: Run): Promise<Figure[]> {
  const posts = run.size(200_000);
  const figures: Figure[] = [];
  for (const { name, connections, inFlight } of ways) {
    const broker = await run.startBroker();
    const load = run.startLoad<PublishHandlers>("publish");
    await load.ask("connect", { url: broker.url, connections });
    // Both processes compile their hot paths, and the authors become users.
    await load.ask("publish", { posts: run.size(20_000), authors, inFlight });
    const { result: spent, server: brokerSpent } = await run.phase(name, posts, (progress) =>
      broker.observe(() => load.ask("publish", { posts, authors, inFlight }, progress)),
    );
    figures.push(
      figureOf({
        part: "posts",
        name,
        value: posts / spent.seconds,
        unit: "posts/s",
        atLeast: leastPerSecond,
        loads: [spent],
        broker: brokerSpent,
        note: `${posts.toLocaleString("en")} posts of 100–200 characters by ${authors.toLocaleString("en")} authors, ${inFlight} in flight on each connection`,
      }),
    );
    await load.end();
    await broker.stop();
  }
  return figures;
}
