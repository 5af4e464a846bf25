/* `bench mentions`: a storm of mentions at one user. */

import { wholeNumber } from "../../clients/cli/command.ts";
import type { Row } from "../report/result.ts";
import { mentionsDefaults, openMentions } from "../workloads/mentions.ts";
import { type WorkloadCommand, defaultPayloadBytes, numbers, positive } from "./workload-command.ts";

interface MentionsCommandOptions {
  authors: number;
  sessions: number;
  inFlight: number[];
  paced: number;
}

export const mentionsCommand: WorkloadCommand<MentionsCommandOptions> = {
  name: "mentions",
  description: "a storm of mentions at one user, who has some sessions",
  configure: (command) =>
    command
      .option("--authors <n>", "who mention them", wholeNumber(1, 1_000_000), mentionsDefaults.authors)
      .option("--sessions <n>", "of the user mentioned", wholeNumber(1, 10_000), mentionsDefaults.sessions)
      .option("--in-flight <numbers>", "posts in flight, a round for each", numbers, [
        ...mentionsDefaults.inFlight,
      ])
      .option(
        "--paced <n>",
        "deliveries a second of the paced round",
        positive,
        mentionsDefaults.pacedPerSecond,
      ),

  async measure(bench, { authors, sessions, inFlight, paced }) {
    const { run, seconds, payloadBytes = defaultPayloadBytes, processes } = bench;
    const site = await bench.start();
    const storm = await openMentions(site, {
      authors: run.size(authors),
      sessions,
      inFlight,
      pacedPerSecond: paced,
      seconds,
      payloadBytes,
      processes,
    });
    const rows: Row[] = [];
    for (const round of storm.rounds) rows.push(await round.measure());
    await storm.close();
    await site.running.stop();
    return rows;
  },
};
