/* `bench whale`: one author, everybody follows them. */

import type { Row } from "../report/result.ts";
import { openWhale, whaleDefaults } from "../workloads/whale.ts";
import type { OpenedWorkload, Site } from "../workloads/workload.ts";
import { measureRounds } from "./rounds.ts";
import { type WorkloadCommand, canHave, defaultPayloadBytes, numbers, positive } from "./workload-command.ts";

interface WhaleCommandOptions {
  online: number[];
  inFlight: number[];
  paced: number;
}

export const whaleCommand: WorkloadCommand<WhaleCommandOptions> = {
  name: "whale",
  description: "one author, all who are online follow them: closed loops and paced",
  configure: (command) =>
    command
      .option("--online <numbers>", "followers online, a size after the other", numbers, [
        ...whaleDefaults.online,
      ])
      .option("--in-flight <numbers>", "posts in flight, a round for each", numbers, [
        ...whaleDefaults.inFlight,
      ])
      .option(
        "--paced <n>",
        "deliveries a second of the paced round",
        positive,
        whaleDefaults.pacedPerSecond,
      ),

  async measure(bench, { online, inFlight, paced }) {
    const rows: Row[] = [];
    for (const size of online.map((each) => bench.run.size(each))) {
      const site = await bench.start();
      if (canHave(bench, site.running, size)) {
        const { seconds, payloadBytes = defaultPayloadBytes, processes } = bench;
        const shared = { seconds, payloadBytes, processes };
        const options = { ...shared, online: size, inFlight, pacedPerSecond: paced };
        const open = (where: Site): Promise<OpenedWorkload> => openWhale(where, options);
        rows.push(...(await measureRounds(bench, { site, online: size, open })));
      }
      await site.running.stop();
    }
    return rows;
  },
};
