/* The broker in a process of its own, as the harness starts it: started with --expose-gc, told by asks.
 *
 * It is the broker as it is embedded; only its memory and CPU time are looked at from within. */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { Broker } from "../broker/index.ts";
import { serveAsks } from "./asks.ts";
import { median } from "./measure.ts";
import { watchHandlers } from "./watch.ts";

/** Looks at the memory, each after a forced garbage collection. */
const memorySamples = 5;
const betweenSamplesMs = 200;

/** Bytes held, each the median of some looks. */
export interface Memory {
  /** The resident set, as the operating system counts it: pages of the mapped store file among them. */
  rss: number;
  /** The resident set without mapped files: heap, buffers, stacks. The whole resident set where that is not told. */
  anonymous: number;
  heap: number;
}

let broker: Broker | undefined;

const handlers = {
  ...watchHandlers,
  async start({ data }: { data: string }): Promise<string> {
    broker = await Broker.start({ port: 0, data, logLevel: "warn" });
    return broker.url;
  },
  async memory(): Promise<Memory> {
    const samples: Memory[] = [];
    for (let i = 0; i < memorySamples; i++) {
      await sleep(betweenSamplesMs);
      globalThis.gc?.();
      const { rss, heapUsed } = process.memoryUsage();
      samples.push({ rss, anonymous: anonymousBytes() ?? rss, heap: heapUsed });
    }
    return {
      rss: median(samples.map((sample) => sample.rss)),
      anonymous: median(samples.map((sample) => sample.anonymous)),
      heap: median(samples.map((sample) => sample.heap)),
    };
  },
  async stop(): Promise<void> {
    await broker?.stop(0);
  },
};
export type BrokerHandlers = typeof handlers;

serveAsks(handlers);

function anonymousBytes(): number | undefined {
  if (process.platform !== "linux") return undefined;
  const kib = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return kib === undefined ? undefined : Number(kib) * 1_024;
}
