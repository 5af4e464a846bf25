/* Lone: publishes one post at a time through the SDK, and measures the disk in turns with it. */

import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";

import { connect } from "../../clients/node/index.ts";
import { type Progress, serveAsks } from "../asks.ts";
import { Latency, type Quantiles } from "../latency.ts";
import { type Spent, startMeasuring } from "../measure.ts";
import { makeTexts } from "./texts.ts";

/** Both are measured in so many turns, so that they see the same disk. */
const turns = 10;
const pageBytes = 4_096;

const handlers = {
  async lone(
    { url, folder, posts }: { url: string; folder: string; posts: number },
    progress: Progress,
  ): Promise<{ post: Quantiles; sync: Quantiles; spent: Spent }> {
    const client = await connect(url, { user: "bench" });
    const texts = makeTexts({ authors: 1, seed: 1 });
    const [post, sync] = [new Latency(), new Latency()];
    const perTurn = Math.ceil(posts / turns);
    for (const text of texts.slice(0, perTurn)) await client.post(text); // warm-up
    const spent = startMeasuring();
    for (let turn = 0; turn < turns; turn++) {
      syncPages(folder, perTurn, sync);
      for (let i = 0; i < perTurn; i++) {
        await post.time(() => client.post(texts[(turn * perTurn + i) % texts.length]!));
        progress(turn * perTurn + i + 1);
      }
    }
    const result = { post: post.quantiles, sync: sync.quantiles, spent: spent() };
    await client.close();
    return result;
  },
};
export type LoneHandlers = typeof handlers;

serveAsks(handlers);

/** Writes 4 KiB and waits for the disk, `count` times, in a file beside the store. */
function syncPages(folder: string, count: number, latency: Latency): void {
  const page = Buffer.alloc(pageBytes, 0x77);
  const file = openSync(join(folder, "sync-probe"), "w");
  for (let i = 0; i < count; i++) {
    const startMs = performance.now();
    writeSync(file, page, 0, pageBytes, i * pageBytes);
    fdatasyncSync(file);
    latency.record(performance.now() - startMs);
  }
  closeSync(file);
}
