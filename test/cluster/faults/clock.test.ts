/* One node's clock is wrong: it says so and takes nothing, the others go on, and no post gets a time that is not. */

import { rm } from "node:fs/promises";

import tap from "tap";

import { MovedClock } from "../../moved-clock.ts";
import { Cluster, type ClusterNode } from "../broker-process.ts";
import { NatsServers, natsTest } from "../nats-server.ts";

const year = 365 * 24 * 3_600;
/** What clocks may differ by, and a little, in ms. */
const near = 360_000;

const missing = MovedClock.missing();

async function timesAt({ url }: ClusterNode): Promise<Map<string, number>> {
  const answer = await fetch(`${url}/v1/users/marker/posts?user=marker&limit=100`);
  const { items } = (await answer.json()) as { items: { post: { text: string; at: number } }[] };
  return new Map(items.map(({ post }) => [post.text, post.at]));
}

await natsTest(
  tap,
  "a node whose clock is wrong says so, and carries nobody's time away",
  { timeoutMs: 240_000 },
  async (t) => {
    if (missing !== undefined) {
      if (process.env["CI"] === "true") t.fail(missing);
      else t.pass(`skipped: ${missing}`, { skip: missing });
      return;
    }
    const nats = await NatsServers.for(t);
    const clock = await MovedClock.for(t);
    const cluster = await Cluster.for(t, { nats: nats.urls, nodes: 2, last: { launch: { by: clock.by } } });
    const [right, wrong] = cluster.nodes as [ClusterNode, ClusterNode];
    const refusal = { code: "unavailable", retryable: true, message: /the clock is .* (ahead|behind)/ };
    for (const by of [year, -year]) {
      await clock.set(by);
      await wrong.untilUnready(/the clock is/);
      await t.rejects(wrong.post(`refused, ${by} s`), refusal);
      await right.post(`the others go on, ${by} s`);
      await clock.set(0);
      await wrong.untilReady();
      await wrong.post(`it is back, ${by} s`);
    }

    // It starts with a wrong clock and nothing to compare it with but NATS.
    await wrong.stop();
    await rm(wrong.folder, { recursive: true });
    await clock.set(year);
    await wrong.start();
    t.match(await wrong.untilUnready(/that of NATS/), /the clock is 365 days ahead/);
    await t.rejects(wrong.post("refused from the start"), refusal);
    await right.post("after its start");
    await clock.set(0);
    await wrong.untilReady();
    await wrong.post("the last");

    const times = await timesAt(right);
    t.equal(times.size, 6, [...times.keys()].join());
    for (const [text, at] of times)
      t.ok(Math.abs(at - Date.now()) < near, `${text}: ${new Date(at).toISOString()}`);
    await cluster.checkAgreement(t);
  },
);
