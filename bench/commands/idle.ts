/* `bench idle`: memory of a session that has nothing to do. */

import { wholeNumber } from "../../clients/cli/command.ts";
import { idleDefaults, measureIdle } from "../workloads/idle.ts";
import { type WorkloadCommand, canHave, defaultPayloadBytes } from "./workload-command.ts";

interface IdleCommandOptions {
  sessions: number;
  follows: number;
}

export const idleCommand: WorkloadCommand<IdleCommandOptions> = {
  name: "idle",
  description: "memory of a session that has nothing to do",
  configure: (command) =>
    command
      .option("--sessions <n>", "that are counted", wholeNumber(1, 1_000_000), idleDefaults.sessions)
      .option("--follows <n>", "authors that each follows", wholeNumber(1, 10_000), idleDefaults.follows),

  async measure(bench, { sessions, follows }) {
    const { run, processes, isExternal } = bench;
    const folder = run.makeFolder();
    const site = await bench.start(folder);
    const [count, before] = [run.size(sessions), run.size(idleDefaults.before)];
    if (!canHave(bench, site.running, count + before)) return [];
    let fresh = site;
    const options = {
      sessions: count,
      before,
      follows,
      authors: run.size(idleDefaults.authors),
      payloadBytes: defaultPayloadBytes,
      processes,
    };
    const rows = await measureIdle(site, options, async () => {
      if (isExternal) return site;
      await site.running.stop();
      fresh = await bench.start(folder);
      return fresh;
    });
    await fresh.running.stop();
    return rows;
  },
};
