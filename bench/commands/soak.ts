/* `bench soak`: a mix, for hours. */

import { wholeNumber } from "../../clients/cli/command.ts";
import { measureSoak, soakDefaults } from "../workloads/soak.ts";
import { type WorkloadCommand, canHave, defaultPayloadBytes, positive } from "./workload-command.ts";

interface SoakCommandOptions {
  minutes: number;
  online: number;
  churning: number;
  churn: number;
  paced: number;
}

export const soakCommand: WorkloadCommand<SoakCommandOptions> = {
  name: "soak",
  description:
    "a mix of all, at one pace, for as long as asked; checks all along, and tells the trend of the memory",
  configure: (command) =>
    command
      .option("--minutes <n>", "how long", positive, soakDefaults.minutes)
      .option("--online <n>", "sessions that stay", wholeNumber(1, 1_000_000), soakDefaults.online)
      .option("--churning <n>", "sessions that come and go", wholeNumber(1, 100_000), soakDefaults.churning)
      .option("--churn <n>", "of them in a second", positive, soakDefaults.churnPerSecond)
      .option("--paced <n>", "deliveries a second", positive, soakDefaults.pacedPerSecond),

  async measure(bench, { minutes, online, churning, churn, paced }) {
    const { run, payloadBytes = defaultPayloadBytes, processes } = bench;
    const site = await bench.start();
    const [stay, come] = [run.size(online), run.size(churning)];
    if (!canHave(bench, site.running, stay + come)) return [];
    const rows = await measureSoak(site, {
      minutes: minutes * run.scale,
      online: stay,
      churning: come,
      churnPerSecond: Math.max(1, churn * run.scale),
      authors: run.size(soakDefaults.authors),
      follows: soakDefaults.follows,
      pacedPerSecond: paced * run.scale,
      payloadBytes,
      processes,
    });
    await site.running.stop();
    return rows;
  },
};
