/* `bench rolling`: a rolling restart under load. */

import { wholeNumber } from "../../clients/cli/command.ts";
import { measureRolling, rollingDefaults } from "../workloads/rolling.ts";
import { refuseExternal, startCluster } from "./cluster.ts";
import { type WorkloadCommand, defaultPayloadBytes, positive } from "./workload-command.ts";

interface RollingCommandOptions {
  nodes: number;
  readers: number;
  posts: number;
  drain: number;
}

export const rollingCommand: WorkloadCommand<RollingCommandOptions> = {
  name: "rolling",
  description:
    "all nodes of a cluster restarted one after the other under load: who misses what, who comes back when",
  isOfSeveral: true,
  configure: (command) =>
    command
      .option("--nodes <n>", "nodes", wholeNumber(2, 16), rollingDefaults.nodes)
      .option("--readers <n>", "sessions, through the SDK", wholeNumber(1, 100_000), rollingDefaults.readers)
      .option("--posts <n>", "a second, each to all readers", positive, rollingDefaults.postsPerSecond)
      .option(
        "--drain <seconds>",
        "over which a node lets its sessions go",
        positive,
        rollingDefaults.drainSeconds,
      ),

  async measure(bench, { nodes, readers, posts, drain }) {
    refuseExternal(bench);
    const { run, target, payloadBytes = defaultPayloadBytes } = bench;
    const cluster = await startCluster(bench, nodes, ["--drain", `${Math.round(drain * 1_000)}ms`]);
    const { authors, publishers, calmSeconds } = rollingDefaults;
    const row = await measureRolling(
      { run, target, cluster },
      {
        readers: run.size(readers),
        authors,
        publishers,
        postsPerSecond: posts,
        drainSeconds: drain,
        calmSeconds,
        payloadBytes,
      },
    );
    await cluster.stop();
    return [row];
  },
};
