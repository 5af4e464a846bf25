/* Ledger: one set of metrics for the whole broker, of what its processes tell.
 *
 * Figures of the same name are summed, or joined as their `aggregator` says. Some are told for each process as well, by a
 * label `worker` (0 is the process that applies). A counter does not go back when a worker dies: what it last told is
 * kept and added on. What it counted since is lost; how much that is, is how often one scrapes. */

import { AggregatorRegistry, Gauge, type PrometheusContentType, Registry } from "prom-client";

import type { Core } from "../core.ts";
import { type Figures, type Metrics, createMetrics } from "../metrics.ts";
import type { Excess } from "../transports/admission.ts";
import type { Seat } from "./seat.ts";

/** How long a worker may take to tell, in ms; after it what it told before stands for it. */
const tellMs = 2_000;

/** What is told for each process, of which figure. */
const perWorker: [name: string, help: string, of: string][] = [
  ["whalesong_worker_sessions", "Clients connected to one worker.", "whalesong_sessions"],
  ["whalesong_worker_head_offset", "The head as one worker has it.", "whalesong_head_offset"],
  [
    "whalesong_worker_cpu_seconds",
    "CPU time of one process since it started, user and system.",
    "process_cpu_seconds_total",
  ],
  [
    "whalesong_worker_resident_memory_bytes",
    "Resident memory of one process; pages of the store are shared and count in each.",
    "process_resident_memory_bytes",
  ],
  [
    "whalesong_worker_eventloop_lag_p99_seconds",
    "How late the event loop of one process runs, 99th percentile.",
    "nodejs_eventloop_lag_p99_seconds",
  ],
];

/** Of limits and times of several processes the least is the broker's; their sum would be nothing's. */
const leastOf = new Set(["process_start_time_seconds", "process_max_fds"]);

export class Ledger {
  readonly #metrics: Metrics;
  readonly #seats: () => Seat[];
  /** What each told last. */
  readonly #told = new WeakMap<Seat, Figures>();
  /** Counters of those that died. */
  #retired: Figures = [];
  #replaced = 0;

  constructor(core: Core, seats: () => Seat[]) {
    this.#metrics = createMetrics(core);
    this.#seats = seats;
  }

  /** This process refused a connection. */
  onConnectionRefused(excess: Excess): void {
    this.#metrics.onConnectionRefused(excess);
  }

  async text(): Promise<string> {
    const seats = this.#seats().filter((seat) => seat.isServing);
    const own = await this.#metrics.figures();
    const theirs = await Promise.all(seats.map(async (seat) => await this.#ask(seat)));
    const processes = new Map([[0, own], ...seats.map((seat, i) => [seat.number, theirs[i]!] as const)]);
    const all = join([...processes.values(), this.#retired]);
    const apart = this.#apart(processes);
    return `${await all.metrics()}\n${await apart.metrics()}`;
  }

  /** Clients connected, to all workers. */
  async sessions(): Promise<number> {
    const seats = this.#seats().filter((seat) => seat.isServing);
    const theirs = await Promise.all(seats.map(async (seat) => await this.#ask(seat)));
    return theirs.reduce((sum, figures) => sum + (valueOf(figures, "whalesong_sessions") ?? 0), 0);
  }

  /** Its counters stay. */
  retire(seat: Seat): void {
    this.#replaced++;
    const last = this.#told.get(seat) ?? [];
    const counters = last.filter(({ type }) => String(type) === "counter" || String(type) === "histogram");
    void this.#keep(counters);
  }

  async #keep(counters: Figures): Promise<void> {
    this.#retired = await join([this.#retired, counters]).getMetricsAsJSON();
  }

  async #ask(seat: Seat): Promise<Figures> {
    const late = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), tellMs).unref());
    const figures = (await Promise.race([seat.figures(), late])) ?? this.#told.get(seat) ?? [];
    this.#told.set(seat, figures);
    return figures;
  }

  #apart(processes: Map<number, Figures>): Registry {
    const registry = new Registry();
    const registers = [registry];
    for (const [name, help, of] of perWorker) {
      const gauge = new Gauge({ name, help, registers, labelNames: ["worker"] as const });
      for (const [worker, figures] of processes) {
        const value = valueOf(figures, of);
        if (value !== undefined) gauge.set({ worker }, value);
      }
    }
    const workers = new Gauge({
      name: "whalesong_workers",
      help: "Worker processes that serve.",
      registers,
    });
    workers.set(processes.size - 1);
    const replaced = new Gauge({
      name: "whalesong_workers_replaced",
      help: "Worker processes that died and were replaced, since the start.",
      registers,
    });
    replaced.set(this.#replaced);
    return registry;
  }
}

/** Of a figure without labels. */
function valueOf(figures: Figures, name: string): number | undefined {
  const figure = figures.find((one) => one.name === name);
  return (figure as { values?: { value: number }[] } | undefined)?.values?.[0]?.value;
}

function join(figures: Figures[]): Registry {
  const changed = figures.map((one) =>
    one.map((figure) => (leastOf.has(figure.name) ? { ...figure, aggregator: "min" as const } : figure)),
  );
  return AggregatorRegistry.aggregate<PrometheusContentType>(changed);
}
