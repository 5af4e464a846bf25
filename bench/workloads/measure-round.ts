/* One round, measured: the load's figures beside what the target's processes spent meanwhile, as a row. */

import { LiveLine, rate } from "../live.ts";
import type { Latency } from "../latency.ts";
import type { Pace } from "../load/publishing.ts";
import type { Cpu, LatencyResult, Measure, Row } from "../report/result.ts";
import { processMemory, processTimes } from "../targets/processes.ts";
import { type Health, type Running, targetName } from "../targets/target.ts";
import { HealthProbe } from "./health-probe.ts";
import type { Loads } from "./loads.ts";
import type { Outcome } from "./outcome.ts";
import type { Site } from "./workload.ts";

export interface RoundOptions {
  site: Site;
  loads: Loads;
  workload: string;
  name: string;
  parameters: Row["parameters"];
  pace: Pace;
  /** Before it, at the same pace, uncounted; compiles what is hot. */
  warmUpSeconds: number;
  /** What a unit of work is. @default "delivery" */
  per?: "delivery" | "publish";
}

const sampleEveryMs = 500;

export async function measureRound(options: RoundOptions): Promise<Row> {
  const { site, loads, workload, name, parameters, pace, warmUpSeconds, per = "delivery" } = options;
  const { target, running } = site;
  const title = `${workload}: ${name} (${target.name})`;
  if (warmUpSeconds > 0) await loads.run({ ...pace, seconds: warmUpSeconds });
  const server = await ServerWatch.begin(site);
  const line = new LiveLine(title);
  let outcome: Outcome;
  try {
    outcome = await loads.run(pace, {
      everyMs: Math.min(sampleEveryMs, (pace.seconds * 1_000) / 4),
      rssBytes: () => processMemory(running.pids())?.rssBytes,
      onInterval: (interval) => {
        const { deliveriesPerSecond, publishesPerSecond, p99, loadShare } = interval;
        const done =
          per === "delivery"
            ? `${rate(deliveriesPerSecond)} deliveries`
            : `${rate(publishesPerSecond)} publishes`;
        line.update(`${done}, p99 ${p99.toFixed(1)} ms, load ${percent(loadShare)}`);
      },
    });
  } catch (error) {
    line.end("failed");
    throw new Error(`${title}: ${(error as Error).message}`, { cause: error });
  }
  const seen = await server.end();
  const work = per === "delivery" ? outcome.deliveries : outcome.publishes;
  line.end(`${rate(work / outcome.seconds)} in ${outcome.seconds.toFixed(1)} s`);
  await loads.check();

  const { seconds, latency, answerLatency, series, load } = outcome;
  const row: Row = {
    workload,
    name,
    target: targetName(target),
    parameters,
    seconds,
    publishes: outcome.publishes,
    latency: latencyResult(per === "delivery" ? latency : answerLatency, pace.kind === "paced"),
    series,
    load,
    notes: notesOf(outcome, seen.notes),
    ...seenOf(seen, work),
  };
  const measures = partMeasures(seen, outcome.publishes);
  if (measures.length > 0) row.measures = measures;
  if (per === "delivery") {
    row.deliveries = outcome.deliveries;
    if (outcome.deliveries > 0) row.wireBytes = outcome.bytes / outcome.deliveries;
  }
  return row;
}

/** What was seen of the target, as a row has it. */
export function seenOf(seen: Seen, work: number): Pick<Row, "cpu" | "memory" | "loopDelay"> {
  const cpu = cpuOf(seen, work);
  return {
    ...(cpu === undefined ? {} : { cpu }),
    ...(seen.rssBytes === undefined ? {} : { memory: { rssBytes: seen.rssBytes } }),
    ...(seen.loopDelay === undefined ? {} : { loopDelay: seen.loopDelay }),
  };
}

/** Several looks as one: times added, the rest at its greatest. */
export function joinSeen(all: readonly Seen[]): Seen {
  const [first, ...others] = all;
  if (first === undefined) throw new Error("nothing was seen");
  return others.reduce((a, b) => {
    const joined: Seen = { seconds: a.seconds + b.seconds, notes: [...a.notes, ...b.notes] };
    if (a.userSeconds !== undefined && b.userSeconds !== undefined)
      joined.userSeconds = a.userSeconds + b.userSeconds;
    if (a.systemSeconds !== undefined && b.systemSeconds !== undefined)
      joined.systemSeconds = a.systemSeconds + b.systemSeconds;
    if (a.rssBytes !== undefined && b.rssBytes !== undefined)
      joined.rssBytes = Math.max(a.rssBytes, b.rssBytes);
    if (a.loopDelay !== undefined && b.loopDelay !== undefined) {
      joined.loopDelay = {
        p50: Math.max(a.loopDelay.p50, b.loopDelay.p50),
        p99: Math.max(a.loopDelay.p99, b.loopDelay.p99),
        max: Math.max(a.loopDelay.max, b.loopDelay.max),
      };
    }
    return joined;
  }, first);
}

export interface Seen {
  seconds: number;
  userSeconds?: number;
  systemSeconds?: number;
  rssBytes?: number;
  loopDelay?: { p50: number; p99: number; max: number };
  /** CPU time of each of its programs, in seconds, where it is several. */
  parts?: { name: string; seconds: number }[];
  notes: string[];
}

/** What the target spends, seen from outside, or by its own account where its processes are elsewhere. */
export class ServerWatch {
  readonly #running: Running;
  readonly #probe: HealthProbe | undefined;
  readonly #startMs = performance.now();
  readonly #times: ReturnType<typeof processTimes>;
  readonly #health: Health | undefined;
  readonly #parts: ReadonlyMap<string, number>;

  private constructor(running: Running, health: Health | undefined, probe: HealthProbe | undefined) {
    this.#running = running;
    this.#health = health;
    this.#probe = probe;
    this.#times = processTimes(running.pids());
    this.#parts = partTimes(running);
  }

  static async begin({ run, running }: Site): Promise<ServerWatch> {
    // Asked before the clock starts, since being asked costs the target something; it also begins its loop delays anew.
    const health = await running.health?.();
    const { healthUrl, operatorHealthUrl } = running;
    const probe =
      healthUrl === undefined ? undefined : await HealthProbe.begin(run, healthUrl, operatorHealthUrl);
    return new ServerWatch(running, health, probe);
  }

  async end(): Promise<Seen> {
    const times = processTimes(this.#running.pids());
    const seconds = (performance.now() - this.#startMs) / 1_000;
    const parts = [...partTimes(this.#running)].map(([name, now]) => ({
      name,
      seconds: now - (this.#parts.get(name) ?? 0),
    }));
    const memory = processMemory(this.#running.pids());
    const probed = await this.#probe?.end();
    const health = await this.#running.health?.();
    const seen: Seen = { seconds, notes: probed ?? [] };
    if (parts.length > 0) seen.parts = parts;
    const [before, after] = this.#times === undefined ? [this.#health, health] : [this.#times, times];
    if (before?.userSeconds !== undefined && after?.userSeconds !== undefined)
      seen.userSeconds = after.userSeconds - before.userSeconds;
    if (before?.systemSeconds !== undefined && after?.systemSeconds !== undefined)
      seen.systemSeconds = after.systemSeconds - before.systemSeconds;
    const rssBytes = memory?.rssBytes ?? health?.rssBytes;
    if (rssBytes !== undefined) seen.rssBytes = rssBytes;
    if (health?.loopDelay !== undefined) seen.loopDelay = health.loopDelay;
    return seen;
  }
}

/** CPU time since its start of each program of a target that is several, in seconds, by its name. */
function partTimes(running: Running): Map<string, number> {
  const times = (running.parts?.() ?? []).map(({ name, pids }): [string, number] => {
    const { userSeconds = 0, systemSeconds = 0 } = processTimes(pids) ?? {};
    return [name, userSeconds + systemSeconds];
  });
  return new Map(times);
}

/** What a post cost each program of a target that is several. */
function partMeasures({ parts = [] }: Seen, publishes: number): Measure[] {
  if (publishes === 0) return [];
  return parts.map(({ name, seconds }) => ({
    name: `CPU of ${name} for a post`,
    value: (seconds * 1e6) / publishes,
    unit: "µs",
    better: "less",
  }));
}

/** CPU for each unit of work; undefined where it could not be seen. */
function cpuOf({ seconds, userSeconds, systemSeconds }: Seen, work: number): Cpu | undefined {
  if (userSeconds === undefined || systemSeconds === undefined || work === 0) return undefined;
  return {
    userUs: (userSeconds * 1e6) / work,
    systemUs: (systemSeconds * 1e6) / work,
    share: (userSeconds + systemSeconds) / seconds,
  };
}

export function latencyResult(latency: Latency, corrected: boolean): LatencyResult {
  return {
    p50: latency.percentile(50),
    p90: latency.percentile(90),
    p99: latency.percentile(99),
    p999: latency.percentile(99.9),
    max: latency.maxMs,
    count: latency.count,
    corrected,
    curve: latency.curve,
  };
}

function notesOf({ late }: Outcome, notes: readonly string[]): string[] {
  if (late === 0) return [...notes];
  return [...notes, `${late.toLocaleString("en")} posts left late; their wait counts.`];
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
