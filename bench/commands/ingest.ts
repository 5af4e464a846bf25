/* `bench ingest`: durable posts from many connections. */

import { wholeNumber } from "../../clients/cli/command.ts";
import type { Row } from "../report/result.ts";
import { ingestDefaults, openIngest } from "../workloads/ingest.ts";
import { type WorkloadCommand, defaultPayloadBytes, numbers } from "./workload-command.ts";

interface IngestCommandOptions {
  connections: number;
  inFlight: number[];
  authors: number;
}

/** To hold, in posts a second. */
const leastPerSecond = 50_000;

export const ingestCommand: WorkloadCommand<IngestCommandOptions> = {
  name: "ingest",
  description: "durable posts from many connections; what is timed is the answer",
  configure: (command) =>
    command
      .option("--connections <n>", "that publish", wholeNumber(1, 10_000), ingestDefaults.connections)
      .option("--in-flight <numbers>", "unanswered on each, a round for each", numbers, [
        ...ingestDefaults.inFlight,
      ])
      .option("--authors <n>", "who publish", wholeNumber(1, 1_000_000), ingestDefaults.authors),

  async measure(bench, { connections, inFlight, authors }) {
    const { run, seconds, payloadBytes = defaultPayloadBytes, processes } = bench;
    const site = await bench.start();
    const ingest = await openIngest(site, {
      connections: run.size(connections),
      inFlight,
      authors: run.size(authors),
      seconds,
      payloadBytes,
      processes,
    });
    const rows: Row[] = [];
    for (const round of ingest.rounds) rows.push(await round.measure());
    const best = rows.toSorted((a, b) => rate(b) - rate(a))[0];
    if (best !== undefined)
      best.goals = [{ what: "posts", measured: rate(best), atLeast: leastPerSecond, unit: "a second" }];
    await ingest.close();
    await site.running.stop();
    return rows;
  },
};

function rate({ publishes = 0, seconds }: Row): number {
  return publishes / seconds;
}
