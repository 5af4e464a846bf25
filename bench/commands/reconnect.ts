/* `bench reconnect`: all sessions drop and come back. */

import { wholeNumber } from "../../clients/cli/command.ts";
import { measureReconnect, reconnectDefaults } from "../workloads/reconnect.ts";
import { type WorkloadCommand, defaultPayloadBytes } from "./workload-command.ts";

interface ReconnectCommandOptions {
  sessions: number;
  behind: number;
  follows: number;
}

export const reconnectCommand: WorkloadCommand<ReconnectCommandOptions> = {
  name: "reconnect",
  description: "all sessions drop at once and resume many posts behind",
  configure: (command) =>
    command
      .option("--sessions <n>", "that drop", wholeNumber(1, 1_000_000), reconnectDefaults.sessions)
      .option("--behind <n>", "posts that each missed", wholeNumber(1, 100_000), reconnectDefaults.behind)
      .option("--follows <n>", "authors that each follows", wholeNumber(1, 1_000), reconnectDefaults.follows),

  async measure(bench, { sessions, behind, follows }) {
    const { run, processes, payloadBytes = defaultPayloadBytes } = bench;
    const site = await bench.start();
    const wanted = run.size(sessions);
    const count = Math.min(wanted, site.running.mostReaders ?? wanted);
    if (count < wanted) {
      bench.remark(
        `${count.toLocaleString("en")} sessions instead of ${wanted.toLocaleString("en")}: the broker's process may not open more files here.`,
      );
    }
    const rows = await measureReconnect(site, {
      sessions: count,
      behind: run.size(behind),
      follows: Math.min(follows, run.size(behind)),
      authors: reconnectDefaults.authors,
      payloadBytes,
      processes,
    });
    await site.running.stop();
    return rows;
  },
};
