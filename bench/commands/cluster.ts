/* `bench cluster`: one broker's work on several nodes. */

import { wholeNumber } from "../../clients/cli/command.ts";
import { Cluster } from "../targets/cluster.ts";
import { measureCatchUp } from "../workloads/cluster-catch-up.ts";
import {
  type ClusterWorkloadOptions,
  clusterDefaults,
  measureAlone,
  measureCluster,
} from "../workloads/cluster.ts";
import { type Bench, type WorkloadCommand, defaultPayloadBytes, numbers } from "./workload-command.ts";

interface ClusterCommandOptions {
  nodes: number[];
  online: number;
  inFlight: number[];
  users: number;
  connections: number;
  behind: number;
}

/** So that who was away reads the log, and no round has a snapshot among it. */
const noSnapshots = ["--snapshot-every", "365d", "--snapshot-commands", "1000000000"];

export const clusterCommand: WorkloadCommand<ClusterCommandOptions> = {
  name: "cluster",
  description:
    "several nodes over NATS on this machine: whale and graph, latency from node to node, commands through one stream, catching up",
  isOfSeveral: true,
  configure: (command) =>
    command
      .option("--nodes <numbers>", "nodes, a cluster after the other", numbers, [...clusterDefaults.nodes])
      .option("--online <n>", "followers of the whale", wholeNumber(1, 1_000_000), clusterDefaults.online)
      .option("--in-flight <numbers>", "posts of the whale in flight, a round for each", numbers, [
        ...clusterDefaults.inFlight,
      ])
      .option("--users <n>", "of the graph", wholeNumber(100, 10_000_000), clusterDefaults.users)
      .option(
        "--connections <n>",
        "that publish commands",
        wholeNumber(1, 10_000),
        clusterDefaults.connections,
      )
      .option(
        "--behind <n>",
        "entries that a node misses while it is away",
        wholeNumber(1, 100_000_000),
        clusterDefaults.behind,
      ),

  async measure(bench, { nodes, behind, ...given }) {
    refuseExternal(bench);
    const { run, target } = bench;
    const options = optionsOf(bench, given);
    const site = await bench.start();
    const rows = await measureAlone(site, options);
    await site.running.stop();
    const most = Math.max(...nodes);
    for (const count of nodes) {
      const cluster = await startCluster(bench, count, noSnapshots);
      const there = { run, target, cluster };
      rows.push(...(await measureCluster(there, options)));
      if (count === most && count > 1) {
        rows.push(await measureCatchUp(there, { ...options, behind: run.size(behind) }));
      }
      await cluster.stop();
    }
    return rows;
  },
};

/** @throws where the broker is not ours to start and stop */
export function refuseExternal({ isExternal }: Bench): void {
  if (isExternal)
    throw new Error("the nodes of a cluster are the harness's own: leave --url and WHALESONG_URL out");
}

export function startCluster(bench: Bench, nodes: number, flags: readonly string[]): Promise<Cluster> {
  const { run, deflate } = bench;
  return Cluster.start({ run, nodes, flags: [...flags, ...bench.flags], deflate });
}

function optionsOf(
  { run, seconds, payloadBytes = defaultPayloadBytes, processes }: Bench,
  {
    online,
    inFlight,
    users,
    connections,
  }: Pick<ClusterCommandOptions, "online" | "inFlight" | "users" | "connections">,
): ClusterWorkloadOptions {
  const { lightReaders, lightPerSecond, commandsInFlight, graphOnline, authors } = clusterDefaults;
  return {
    online: run.size(online),
    inFlight,
    users: Math.max(100, run.size(users)),
    graphOnline: run.size(graphOnline),
    lightReaders: run.size(lightReaders),
    lightPerSecond,
    connections: run.size(connections),
    commandsInFlight,
    authors: run.size(authors),
    seconds,
    payloadBytes,
    processes,
  };
}
