/* `bench graph`: a follow graph of a real one's shape, or one from a file. */

import { wholeNumber } from "../../clients/cli/command.ts";
import { generateGraph } from "../graph/generate.ts";
import { readGraph } from "../graph/read.ts";
import { graphDefaults, measureGraph } from "../workloads/graph.ts";
import { type WorkloadCommand, canHave, defaultPayloadBytes, numbers } from "./workload-command.ts";

interface GraphCommandOptions {
  users: number;
  online: number;
  inFlight: number;
  offline: number[];
  seed: number;
  edges?: string;
}

export const graphCommand: WorkloadCommand<GraphCommandOptions> = {
  name: "graph",
  description: "a follow graph of a real one's shape, and a whale whose offline followers grow",
  configure: (command) =>
    command
      .option("--users <n>", "of a graph that is made", wholeNumber(100, 10_000_000), graphDefaults.users)
      .option(
        "--edges <file>",
        "a graph from a file instead: lines of `a b` (a follows b), or of interactions `a b unixSeconds RT|MT|RE`; .gz too",
      )
      .option("--online <n>", "users with a session", wholeNumber(1, 1_000_000), graphDefaults.online)
      .option("--in-flight <n>", "posts in flight", wholeNumber(1, 4_096), graphDefaults.inFlight)
      .option("--offline <numbers>", "offline followers of one whale, ascending: a row for each", numbers, [
        ...graphDefaults.offline,
      ])
      .option("--seed <n>", "the same graph again", wholeNumber(0, 2 ** 32 - 1), graphDefaults.seed),

  async measure(bench, { users, edges, online, inFlight, offline, seed }) {
    const { run, seconds, payloadBytes = defaultPayloadBytes, processes } = bench;
    const { meanFollowers, whales, heavyReaders } = graphDefaults;
    const size = Math.max(100, run.size(users));
    const graph =
      edges === undefined
        ? generateGraph({ users: size, meanFollowers, whales, heavyReaders, seed })
        : await readGraph(edges);
    const sorted = graph.followers.toSorted();
    bench.remark(
      `The graph has ${graph.users.toLocaleString("en")} users and ${graph.follows.length.toLocaleString("en")} follows: ` +
        `followers mean ${(graph.follows.length / graph.users).toFixed(1)}, median ${sorted[sorted.length >> 1]}, at most ${sorted.at(-1)!.toLocaleString("en")}` +
        `${edges === undefined ? `; seed ${seed}` : ""}.`,
    );
    const site = await bench.start();
    const readers = run.size(online);
    if (!canHave(bench, site.running, readers)) return [];
    const rows = await measureGraph(site, {
      graph,
      online: readers,
      inFlight,
      offline: offline.map((count) => run.size(count)),
      seed,
      seconds,
      payloadBytes,
      processes,
    });
    await site.running.stop();
    return rows;
  },
};
