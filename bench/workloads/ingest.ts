/* ingest: durable posts from many connections, many in flight on each. Nobody reads; what is timed is the answer. */

import { evenSchedule, followNobody } from "./follows.ts";
import { Loads } from "./loads.ts";
import { measureRound } from "./measure-round.ts";
import { warmUpPart } from "./rounds.ts";
import type { OpenedWorkload, Round, Site } from "./workload.ts";

export interface IngestOptions {
  connections: number;
  /** Unanswered on each connection: a round for each. */
  inFlight: readonly number[];
  authors: number;
  seconds: number;
  payloadBytes: number;
  processes: number | undefined;
}

export const ingestDefaults = { connections: 256, inFlight: [1, 32], authors: 10_000 } as const;

export async function openIngest(site: Site, options: IngestOptions): Promise<OpenedWorkload> {
  const { connections, inFlight, authors, seconds, payloadBytes, processes } = options;
  const loads = await Loads.start({
    run: site.run,
    dialect: site.running.dialect(site.run.makeName()),
    processes,
    follows: followNobody(),
    topicCount: authors,
    schedule: evenSchedule(authors, 3),
    payloadBytes,
    publishers: connections,
    allPublish: true,
  });
  await loads.openPublishers();
  const rounds: Round[] = inFlight.map((count) => {
    const name = `${connections.toLocaleString("en")} connections, ${count} in flight on each`;
    return {
      name,
      measure: () =>
        measureRound({
          site,
          loads,
          workload: "ingest",
          name,
          parameters: { connections, inFlight: count, authors, payloadBytes },
          pace: { kind: "answered", inFlight: count, seconds },
          warmUpSeconds: seconds * warmUpPart,
          per: "publish",
        }),
    };
  });
  return { rounds, close: () => loads.close() };
}
