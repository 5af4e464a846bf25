/* `bench slow`: some readers are slow, the others must not notice. */

import { wholeNumber } from "../../clients/cli/command.ts";
import { measureSlow, slowDefaults } from "../workloads/slow.ts";
import { type WorkloadCommand, canHave, positive } from "./workload-command.ts";

interface SlowCommandOptions {
  online: number;
  paced: number;
  turns: number;
}

export const slowCommand: WorkloadCommand<SlowCommandOptions> = {
  name: "slow",
  description:
    "one tenth of the readers read at 1 KB/s, in turns with none that does: what the others notice, at first and once these catch up",
  configure: (command) =>
    command
      .option("--online <n>", "readers", wholeNumber(10, 1_000_000), slowDefaults.online)
      .option("--paced <n>", "deliveries a second", positive, slowDefaults.pacedPerSecond)
      .option("--turns <n>", "of each kind", wholeNumber(1, 100), slowDefaults.turns),

  async measure(bench, { online, paced, turns }) {
    const { run, seconds, payloadBytes = slowDefaults.payloadBytes, processes } = bench;
    const readers = Math.max(10, run.size(online));
    const site = await bench.start();
    if (!canHave(bench, site.running, readers)) return [];
    const rows = await measureSlow(site, {
      online: readers,
      pacedPerSecond: paced * run.scale,
      turns,
      seconds,
      payloadBytes,
      processes,
    });
    await site.running.stop();
    return rows;
  },
};
