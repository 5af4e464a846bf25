/* `bench shoal`: many authors, sessions that each follow some of them. */

import { wholeNumber } from "../../clients/cli/command.ts";
import type { Row } from "../report/result.ts";
import { openShoal, shoalDefaults } from "../workloads/shoal.ts";
import type { OpenedWorkload, Site } from "../workloads/workload.ts";
import { measureRounds } from "./rounds.ts";
import { type WorkloadCommand, canHave, defaultPayloadBytes, numbers, positive } from "./workload-command.ts";

interface ShoalCommandOptions {
  authors: number;
  online: number;
  follows: number;
  inFlight: number[];
  paced: number;
  publishers: number;
}

export const shoalCommand: WorkloadCommand<ShoalCommandOptions> = {
  name: "shoal",
  description: "many authors, sessions that each follow some of them at random: closed loops and paced",
  configure: (command) =>
    command
      .option("--authors <n>", "who publish", wholeNumber(1, 1_000_000), shoalDefaults.authors)
      .option("--online <n>", "sessions", wholeNumber(1, 1_000_000), shoalDefaults.readers)
      .option("--follows <n>", "authors that each follows", wholeNumber(1, 10_000), shoalDefaults.follows)
      .option("--in-flight <numbers>", "posts in flight, a round for each", numbers, [
        ...shoalDefaults.inFlight,
      ])
      .option("--paced <n>", "deliveries a second of the paced round", positive, shoalDefaults.pacedPerSecond)
      .option(
        "--publishers <n>",
        "connections that publish",
        wholeNumber(1, 1_000),
        shoalDefaults.publishers,
      ),

  async measure(bench, { authors, online, follows, inFlight, paced, publishers }) {
    const { run, seconds, payloadBytes = defaultPayloadBytes, processes } = bench;
    const site = await bench.start();
    const rows: Row[] = [];
    const readers = run.size(online);
    if (canHave(bench, site.running, readers)) {
      const options = {
        seconds,
        payloadBytes,
        processes,
        publishers,
        inFlight,
        readers,
        authors: run.size(authors),
        follows: Math.min(follows, run.size(authors)),
        pacedPerSecond: paced,
      };
      const open = (where: Site): Promise<OpenedWorkload> => openShoal(where, options);
      rows.push(...(await measureRounds(bench, { site, online: readers, open })));
    }
    await site.running.stop();
    return rows;
  },
};
