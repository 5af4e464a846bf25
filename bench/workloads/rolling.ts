/* rolling: all nodes of a cluster are restarted, one after the other, under load. Nobody is to miss anything, and those who are
 * let go are to come back spread over the drain time, not all at once.
 *
 *   load ─► node 1 drains, ends, is started again, is ready ─► node 2 … ─► node 3 … ─► load ends ─► everything has come
 *
 * Readers and publishers go through the SDK and know all nodes. Posts that come while a node drains are read elsewhere. */

import { setTimeout as sleep } from "node:timers/promises";

import type { Child } from "../children.ts";
import { Latency } from "../latency.ts";
import { LiveLine } from "../live.ts";
import type { ClientsHandlers, ClientsOutcome } from "../load/clients.ts";
import { nowMicros } from "../load/stamp.ts";
import type { Goal, Mark, Measure, Row, Series } from "../report/result.ts";
import type { Run } from "../run.ts";
import type { Cluster } from "../targets/cluster.ts";
import { type Target, targetName } from "../targets/target.ts";
import { latencyResult } from "./measure-round.ts";
import { loadResult } from "./outcome.ts";

export interface RollingOptions {
  readers: number;
  authors: number;
  publishers: number;
  postsPerSecond: number;
  /** Over how long a node lets its sessions go; its `--drain`. */
  drainSeconds: number;
  /** Before the first restart, between them, and after the last. */
  calmSeconds: number;
  payloadBytes: number;
}

export const rollingDefaults = {
  nodes: 3,
  readers: 600,
  authors: 10,
  publishers: 4,
  postsPerSecond: 20,
  drainSeconds: 5,
  calmSeconds: 2,
} as const;

/** The middle 80 % of those who come back: over a drain that spreads them evenly they take 0.8 of it. */
const middle = 0.8;
const leastSpread = 0.6;
/** Too few to tell of a spread. */
const fewReconnects = 10;
const bucketSeconds = 0.1;
const stateMs = 500;

/** One node's restart, in µs of the machine's clock. */
interface Restart {
  drainMicros: number;
  /** It takes commands again. */
  readyMicros: number;
}

export async function measureRolling(
  { run, target, cluster }: { run: Run; target: Target; cluster: Cluster },
  options: RollingOptions,
): Promise<Row> {
  const { readers, authors, publishers, postsPerSecond, calmSeconds, payloadBytes } = options;
  const clients = run.startLoad<ClientsHandlers>("clients");
  const prefix = run.makeName();
  await run.phase("rolling: connect", readers, (progress) =>
    clients.ask("open", { urls: cluster.urls, prefix, readers, authors, publishers, payloadBytes }, progress),
  );
  await clients.ask("begin", { perSecond: postsPerSecond });
  const line = new LiveLine("rolling");
  const restarts: Restart[] = [];
  let what = "load";
  const telling = tell(clients, line, () => what);
  try {
    await sleep(calmSeconds * 1_000);
    for (const [i, node] of cluster.nodes.entries()) {
      run.signal.throwIfAborted();
      what = `node ${i + 1} of ${cluster.nodes.length} restarts`;
      const drainMicros = nowMicros();
      await node.stop();
      await node.start();
      restarts.push({ drainMicros, readyMicros: nowMicros() });
      await sleep(calmSeconds * 1_000);
    }
  } finally {
    await telling.end();
  }
  const outcome = await clients.ask("finish", undefined);
  line.end(`${outcome.reconnectMicros.length} came back, ${outcome.missed} posts missing`);
  await clients.ask("close", undefined);
  await clients.end();
  return rowOf({ target: targetName(target), nodes: cluster.nodes.length, options, restarts, outcome });
}

/** Says all along how it goes. */
function tell(clients: Child<ClientsHandlers>, line: LiveLine, what: () => string): { end(): Promise<void> } {
  const over = new AbortController();
  const telling = (async () => {
    while (!over.signal.aborted) {
      const { published, deliveries, reconnects, connected } = await clients.ask("state", undefined);
      line.update(
        `${what()}: ${connected} connected, ${reconnects} came back, ${published} posts, ${deliveries} deliveries`,
      );
      await sleep(stateMs);
    }
  })();
  telling.catch(() => {}); // thrown at the end
  return {
    end: async () => {
      over.abort();
      await telling;
    },
  };
}

interface Measured {
  target: string;
  nodes: number;
  options: RollingOptions;
  restarts: readonly Restart[];
  outcome: ClientsOutcome;
}

function rowOf({ target, nodes, options, restarts, outcome }: Measured): Row {
  const { readers, drainSeconds } = options;
  const { startMicros, endMicros, published, unanswered, deliveries, missed, repeated } = outcome;
  const away = Latency.decode(outcome.away);
  const spreads = spreadsOf(restarts, outcome.reconnectMicros);
  const tookSeconds = restarts.map(({ drainMicros, readyMicros }) => (readyMicros - drainMicros) / 1e6);
  return {
    workload: "rolling",
    name: `${nodes} nodes, ${readers.toLocaleString("en")} sessions`,
    target,
    parameters: { ...options, nodes },
    seconds: (endMicros - startMicros) / 1e6,
    deliveries,
    publishes: published - unanswered,
    latency: latencyResult(Latency.decode(outcome.latency), true),
    series: seriesOf(outcome),
    marks: restarts.flatMap((restart, i) => marksOf(restart, i + 1, startMicros)),
    measures: [
      { name: "sessions that came back", value: outcome.reconnectMicros.length, unit: "times" },
      { name: "without a session, p50", value: away.percentile(50), unit: "ms", better: "less" },
      { name: "without a session, p99", value: away.percentile(99), unit: "ms", better: "less" },
      { name: "posts given up", value: unanswered, unit: "posts", better: "less" },
      ...spreads.map(busiestOf),
    ],
    load: loadResult([outcome.spent], undefined),
    notes: [
      `Each node let its sessions go over ${drainSeconds} s and was back after ${tookSeconds.map((seconds) => seconds.toFixed(1)).join(", ")} s. ` +
        `${published.toLocaleString("en")} posts, each to reach all ${readers.toLocaleString("en")}.`,
    ],
    goals: [
      { what: "posts missed, by all readers", measured: missed, atMost: 0, unit: "posts" },
      { what: "posts seen twice, by all readers", measured: repeated, atMost: 0, unit: "posts" },
      ...spreads.map((spread) => spreadGoal(spread, drainSeconds)),
    ],
  };
}

/** Those who came back after one node's drain began, and before the next one's. */
interface Spread {
  node: number;
  /** Ascending. */
  micros: readonly number[];
}

/** Without those of too few to tell. */
function spreadsOf(restarts: readonly Restart[], all: readonly number[]): Spread[] {
  return restarts
    .map(({ drainMicros }, i) => {
      const untilMicros = restarts[i + 1]?.drainMicros ?? Infinity;
      const micros = all.filter((at) => at >= drainMicros && at < untilMicros);
      return { node: i + 1, micros: micros.toSorted((a, b) => a - b) };
    })
    .filter(({ micros }) => micros.length >= fewReconnects);
}

function spreadGoal({ node, micros }: Spread, drainSeconds: number): Goal {
  const at = (part: number): number => micros[Math.round(part * (micros.length - 1))]!;
  const [from, to] = [at((1 - middle) / 2), at((1 + middle) / 2)];
  return {
    what: `node ${node}: the middle ${middle * 100} % came back over, of its drain time`,
    measured: (to - from) / 1e6 / drainSeconds,
    atLeast: leastSpread,
    unit: "times",
  };
}

function busiestOf({ node, micros }: Spread): Measure {
  const counts = bucketsOf(micros, micros[0]!);
  return {
    name: `node ${node}: came back within the busiest ${bucketSeconds * 1_000} ms, of ${micros.length}`,
    value: Math.max(...counts),
    unit: "sessions",
    better: "less",
  };
}

/** One value for each tenth of a second. */
function seriesOf({ startMicros, deliveries100Ms, reconnectMicros }: ClientsOutcome): Series {
  const came = bucketsOf(reconnectMicros, startMicros);
  const length = Math.max(came.length, deliveries100Ms.length);
  const all = Array.from({ length }, (_, i) => i);
  return {
    at: all.map((i) => Math.round((i + 1) * bucketSeconds * 1_000) / 1_000),
    deliveriesPerSecond: all.map((i) => Math.round((deliveries100Ms[i] ?? 0) / bucketSeconds)),
    reconnects100Ms: all.map((i) => came[i] ?? 0),
  };
}

function bucketsOf(micros: readonly number[], startMicros: number): number[] {
  const counts: number[] = [];
  for (const at of micros) {
    const bucket = Math.max(0, Math.floor((at - startMicros) / 1e6 / bucketSeconds));
    while (counts.length <= bucket) counts.push(0);
    counts[bucket]!++;
  }
  return counts;
}

function marksOf({ drainMicros, readyMicros }: Restart, node: number, startMicros: number): Mark[] {
  const at = (micros: number): number => Math.round((micros - startMicros) / 1_000) / 1_000;
  return [
    { at: at(drainMicros), label: `node ${node} drains` },
    { at: at(readyMicros), label: `node ${node} is back` },
  ];
}
