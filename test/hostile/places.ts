/* Places: the ways in which a broker runs. What a client sends may not do more harm in one than in another.
 *
 * Real processes all: one alone, one with workers, and a cluster of two nodes with workers over a real NATS. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Test } from "tap";

import { Cluster, manyRequests, unlimited } from "../cluster/broker-process.ts";
import { NatsServers, missingNats } from "../cluster/nats-server.ts";
import { BrokerProcess } from "../crash/broker-process.ts";

/** A broker of one or more processes that answers for all that it was sent. */
export interface Place {
  /** Where clients are let in; they are sent to the first, and look at the last. */
  readonly urls: readonly string[];
  /** What went wrong in its processes: one has ended, a worker was replaced, a fault was counted. */
  faults(): Promise<string[]>;
}

export interface PlaceKind {
  name: string;
  /** Why it cannot be tried here. */
  missing?: () => string | undefined;
  start: (t: Test) => Promise<Place>;
}

export const placeKinds: readonly PlaceKind[] = [
  { name: "a broker alone", start: (t) => startBroker(t, 0) },
  { name: "a broker with one worker", start: (t) => startBroker(t, 1) },
  { name: "a broker with two workers", start: (t) => startBroker(t, 2) },
  { name: "a cluster of two nodes", missing: missingNats, start: startCluster },
];

async function startBroker(t: Test, workers: number): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-place-"));
  const rates = [...unlimited, ...manyRequests];
  let log = "";
  const broker = await BrokerProcess.launch(
    ["--data", folder, "--port", "0", "--log-level", "warn", "--workers", String(workers), ...rates],
    { onLog: (text) => (log += text) },
  );
  t.teardown(async () => {
    await broker.kill();
    if (!t.passing()) t.comment(log.slice(-6_000));
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  return {
    urls: [broker.url],
    faults: async () => (broker.hasEnded ? ["the broker has ended"] : await faultsAt(broker.url, workers)),
  };
}

async function startCluster(t: Test): Promise<Place> {
  const nats = await NatsServers.for(t);
  const workers = 1;
  const { nodes, urls } = await Cluster.for(t, {
    nodes: 2,
    nats: nats.urls,
    flags: ["--workers", String(workers)],
  });
  return {
    urls,
    faults: async () => {
      const faults: string[] = [];
      for (const { name, url, isRunning } of nodes) {
        const found = isRunning ? await faultsAt(url, workers) : ["it has ended"];
        faults.push(...found.map((fault) => `${name}: ${fault}`));
      }
      return faults;
    },
  };
}

async function faultsAt(url: string, workers: number): Promise<string[]> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const valueOf = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
  const faults: string[] = [];
  if (valueOf("whalesong_faults_total") !== 0) faults.push("faults were counted");
  if (workers > 0 && valueOf("whalesong_workers_replaced") !== 0) faults.push("a worker has died");
  return faults;
}

/** Runs `body` as a test of each place. One that cannot be tried here is skipped and says why; in CI that is a failure. */
export async function eachPlace(
  tap: Test,
  what: string,
  { timeoutMs }: { timeoutMs: number },
  body: (t: Test, place: Place) => Promise<void>,
): Promise<void> {
  tap.setTimeout(placeKinds.length * timeoutMs);
  for (const { name, missing, start } of placeKinds) {
    await tap.test(`${name}: ${what}`, { timeout: timeoutMs }, async (t) => {
      const reason = missing?.();
      if (reason === undefined) await body(t, await start(t));
      else if (process.env["CI"] === "true") t.fail(reason);
      else t.pass(`skipped: ${reason}`, { skip: reason });
    });
  }
}
