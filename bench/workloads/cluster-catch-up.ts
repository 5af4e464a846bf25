/* cluster, last part: a node that was away catches up.
 *
 *   a node is stopped ─► the others take posts ─► it is started again over its folder ─► it has applied all of them
 *
 * Timed from the start of its process: loading code and opening its store are part of being back. */

import { setTimeout as sleep } from "node:timers/promises";

import { LiveLine } from "../live.ts";
import type { Row, Series } from "../report/result.ts";
import type { Run } from "../run.ts";
import type { Cluster, Node } from "../targets/cluster.ts";
import { processMemory, processTimes } from "../targets/processes.ts";
import { type Target, targetName } from "../targets/target.ts";
import { evenSchedule, followNobody } from "./follows.ts";
import { Loads } from "./loads.ts";

export interface CatchUpOptions {
  /** Posts that it is behind. */
  behind: number;
  authors: number;
  /** Connections that publish them. */
  connections: number;
  payloadBytes: number;
}

/** To hold, in entries a second. */
const leastPerSecond = 100_000;
const lookMs = 100;
const timeoutMs = 600_000;
const applied = "whalesong_durable_offset";

/** Of a cluster of two nodes or more. */
export async function measureCatchUp(
  { run, target, cluster }: { run: Run; target: Target; cluster: Cluster },
  options: CatchUpOptions,
): Promise<Row> {
  const { behind, authors, connections, payloadBytes } = options;
  const nodes = cluster.nodes.length;
  const [first, away] = [cluster.nodes[0]!, cluster.nodes[nodes - 1]!];
  const others = cluster.nodes.slice(0, -1).map((_, i) => i);
  const loads = await Loads.start({
    run,
    dialect: cluster.at({ readers: others, publishers: others }).dialect(run.makeName()),
    processes: 1,
    follows: followNobody(),
    topicCount: authors,
    schedule: evenSchedule(authors, 3),
    payloadBytes,
    publishers: connections,
  });
  await loads.openPublishers();
  const before = await away.metric(applied);
  await away.stop();
  await run.phase("cluster: posts while a node is away", behind, (progress) =>
    loads.publishAway(behind, progress),
  );
  await loads.close();
  const head = await first.metric(applied);
  const missing = head - before;

  const startMs = performance.now();
  await away.spawn();
  const listensSeconds = (performance.now() - startMs) / 1_000;
  const series = await watch(away, { head, before, startMs, missing });
  const seconds = (performance.now() - startMs) / 1_000;
  const times = processTimes(away.pids);
  const memory = processMemory(away.pids);
  const row: Row = {
    workload: "cluster",
    name: `${nodes} nodes: one that was away, ${missing.toLocaleString("en")} entries behind`,
    target: targetName(target),
    parameters: { nodes, behind: missing, payloadBytes },
    seconds,
    series,
    load: { processes: 0, cpuShare: 0, isBottleneck: false },
    notes: [
      `From the start of its process until it had applied the last entry: ${seconds.toFixed(1)} s; it listened after ${listensSeconds.toFixed(1)} s. It read the log: no snapshot was made meanwhile.`,
    ],
    goals: [
      { what: "entries caught up", measured: missing / seconds, atLeast: leastPerSecond, unit: "a second" },
    ],
  };
  if (times !== undefined) {
    const { userSeconds, systemSeconds } = times;
    row.measures = [
      {
        name: "CPU of the node for an entry, its start included",
        value: ((userSeconds + systemSeconds) * 1e6) / missing,
        unit: "µs",
        better: "less",
      },
    ];
  }
  if (memory !== undefined) row.memory = { rssBytes: memory.rssBytes };
  return row;
}

/** Settles when the node has applied all up to `head`. Its entries count as posts over time. @throws that it does not get there */
async function watch(
  node: Node,
  { head, before, startMs, missing }: { head: number; before: number; startMs: number; missing: number },
): Promise<Series> {
  const line = new LiveLine("cluster: a node catches up");
  const series = {
    at: [] as number[],
    deliveriesPerSecond: [] as number[],
    publishesPerSecond: [] as number[],
  };
  let [offset, atSeconds] = [before, 0];
  while (offset < head) {
    await sleep(lookMs);
    const now = await node.metric(applied);
    const nowSeconds = (performance.now() - startMs) / 1_000;
    series.at.push(Math.round(nowSeconds * 1_000) / 1_000);
    series.deliveriesPerSecond.push(0);
    series.publishesPerSecond.push(Math.round((now - offset) / (nowSeconds - atSeconds)));
    [offset, atSeconds] = [now, nowSeconds];
    line.update(`${(offset - before).toLocaleString("en")} of ${missing.toLocaleString("en")} entries`);
    if (nowSeconds * 1_000 > timeoutMs)
      throw new Error(`after ${timeoutMs / 1_000} s a node was at ${offset} of ${head}`);
  }
  line.end(`${missing.toLocaleString("en")} entries in ${atSeconds.toFixed(1)} s`);
  return series;
}
