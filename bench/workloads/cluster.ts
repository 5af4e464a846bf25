/* cluster: what several nodes cost and give, beside one broker that stands alone.
 *
 *   for each number of nodes
 *     whale, graph    readers spread over all nodes, posts at the first: what a delivery costs, and what a post costs each node
 *     across          few posts, readers at another node than who publishes: how long a post is on its way
 *     commands        nobody reads; posts at one node, and at all: how many the one stream takes
 *   then              a node is stopped, the log grows, it is started again: how fast it catches up
 *
 * What the relay costs shows in `commands`, where each node's CPU for a post is told, and that of nats-server: the nodes that
 * were not asked do nothing but take what is relayed and apply it. */

import { generateGraph } from "../graph/generate.ts";
import type { Row } from "../report/result.ts";
import type { Run } from "../run.ts";
import type { Cluster, Places } from "../targets/cluster.ts";
import type { Target } from "../targets/target.ts";
import { graphDefaults, measureGraph } from "./graph.ts";
import { openIngest } from "./ingest.ts";
import { openWhale } from "./whale.ts";
import type { OpenedWorkload, Site } from "./workload.ts";

export interface ClusterWorkloadOptions {
  /** Readers of the whale. */
  online: number;
  inFlight: readonly number[];
  /** Users of the graph, and how many of them are online. */
  users: number;
  graphOnline: number;
  /** Readers and posts a second under light load. */
  lightReaders: number;
  lightPerSecond: number;
  /** Connections that publish commands, and how many of them are unanswered on each. */
  connections: number;
  commandsInFlight: number;
  authors: number;
  seconds: number;
  payloadBytes: number;
  processes: number | undefined;
}

export const clusterDefaults = {
  nodes: [1, 2, 3],
  online: 1_000,
  inFlight: [1, 32],
  users: 5_000,
  graphOnline: 500,
  lightReaders: 50,
  lightPerSecond: 100,
  connections: 64,
  commandsInFlight: 32,
  authors: 10_000,
  behind: 1_000_000,
} as const;

/** To hold. */
const mostAcrossMs = 5;
const leastCommands = 50_000;
/** Of the graph: as many offline followers of its whale, and posts in flight. */
const graphOffline = 1_000;
const graphInFlight = 32;

/** Commands at one broker without NATS: what the cluster's are to be compared with. */
export async function measureAlone(site: Site, options: ClusterWorkloadOptions): Promise<Row[]> {
  const rows = await measureCommands(site, options);
  return rows.map((row) => asRow(row, "one broker, no NATS: commands", 0));
}

/** All but catching up, at one cluster. */
export async function measureCluster(
  { run, target, cluster }: { run: Run; target: Target; cluster: Cluster },
  options: ClusterWorkloadOptions,
): Promise<Row[]> {
  const nodes = cluster.nodes.length;
  const all = cluster.nodes.map((_, i) => i);
  const last = nodes - 1;
  const at = (places: Places): Site => ({ run, target, running: cluster.at(places) });
  const named = (rows: readonly Row[], what: string): Row[] =>
    rows.map((row) => asRow(row, `${nodesOf(nodes)}: ${what}`, nodes));
  const spread = at({ readers: all, publishers: [0] });

  const rows = [
    ...named(await measureWhale(spread, options), "whale, "),
    ...named(await measureSmallGraph(spread, options), "graph, "),
  ];
  const light = named(await measureLight(at({ readers: [last], publishers: [0] }), options), "");
  for (const row of light) {
    row.name = `${nodesOf(nodes)}: light load, ${last === 0 ? "at the node" : `published at node 1, read at node ${nodes}`}`;
    if (last > 0 && row.latency !== undefined)
      row.goals = [
        { what: "p50 from node to node", measured: row.latency.p50, atMost: mostAcrossMs, unit: "ms" },
      ];
  }
  rows.push(...light);
  for (const publishers of nodes === 1 ? [[0]] : [[0], all]) {
    const commands = await measureCommands(at({ readers: all, publishers }), options);
    const where = publishers.length === 1 ? "commands, all at node 1" : "commands, at all nodes";
    for (const row of commands) {
      const measured = (row.publishes ?? 0) / row.seconds;
      row.goals = [{ what: "commands", measured, atLeast: leastCommands, unit: "a second" }];
      rows.push(asRow(row, `${nodesOf(nodes)}: ${where}`, nodes));
    }
  }
  return rows;
}

async function measureWhale(site: Site, options: ClusterWorkloadOptions): Promise<Row[]> {
  const { online, inFlight, seconds, payloadBytes, processes } = options;
  const shared = { seconds, payloadBytes, processes, pacedPerSecond: undefined };
  return await measureAll(await openWhale(site, { ...shared, online, inFlight }));
}

async function measureLight(site: Site, options: ClusterWorkloadOptions): Promise<Row[]> {
  const { lightReaders, lightPerSecond, seconds, payloadBytes, processes } = options;
  const pacedPerSecond = lightPerSecond * lightReaders;
  const shared = { seconds, payloadBytes, processes, inFlight: [] };
  return await measureAll(await openWhale(site, { ...shared, online: lightReaders, pacedPerSecond }));
}

async function measureSmallGraph(site: Site, options: ClusterWorkloadOptions): Promise<Row[]> {
  const { users, graphOnline, seconds, payloadBytes, processes } = options;
  const { meanFollowers, whales, heavyReaders, seed } = graphDefaults;
  const graph = generateGraph({ users, meanFollowers, whales, heavyReaders, seed });
  const sizes = { online: graphOnline, inFlight: graphInFlight, offline: [Math.min(graphOffline, users)] };
  return await measureGraph(site, { graph, ...sizes, seed, seconds, payloadBytes, processes });
}

async function measureCommands(site: Site, options: ClusterWorkloadOptions): Promise<Row[]> {
  const { connections, commandsInFlight, authors, seconds, payloadBytes, processes } = options;
  const inFlight = [commandsInFlight];
  const shared = { connections, inFlight, authors, seconds, payloadBytes, processes };
  return await measureAll(await openIngest(site, shared));
}

async function measureAll(opened: OpenedWorkload): Promise<Row[]> {
  const rows: Row[] = [];
  for (const round of opened.rounds) rows.push(await round.measure());
  await opened.close();
  return rows;
}

/** A row of another workload as one of this. `what` that ends in a space stands before its own name. */
function asRow(row: Row, what: string, nodes: number): Row {
  const name = what.endsWith(" ") ? what + row.name : what;
  return { ...row, workload: "cluster", name, parameters: { ...row.parameters, nodes } };
}

function nodesOf(count: number): string {
  return count === 1 ? "1 node" : `${count} nodes`;
}
