/* Health process: asks a target for its health, and tells what that took. The other side of health-probe.ts. */

import { Agent, get } from "node:http";

import { serveAsks } from "../asks.ts";
import { Latency } from "../latency.ts";

const keptEveryMs = 100;
const newEveryMs = 500;

interface Urls {
  url: string;
  /** The same on a port where clients do not come. */
  operatorUrl?: string | undefined;
}

class Probe {
  readonly #kept = new Latency();
  readonly #new = new Latency();
  readonly #apart = new Latency();
  /** One connection: a check that is slow keeps the next one waiting, which counts. */
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #timers: NodeJS.Timeout[] = [];
  #failed = 0;

  /** Settles once it has been answered on the connection that it keeps: what comes later is the load's. */
  static async begin({ url, operatorUrl }: Urls): Promise<Probe> {
    const probe = new Probe();
    await ask(url, probe.#agent).catch(() => {});
    probe.#every(keptEveryMs, () => ask(url, probe.#agent), probe.#kept);
    probe.#every(newEveryMs, () => ask(url, false), probe.#new);
    if (operatorUrl !== undefined) probe.#every(newEveryMs, () => ask(operatorUrl, false), probe.#apart);
    return probe;
  }

  /** Sentences for the row's notes; none when it was never answered. */
  end(): string[] {
    for (const timer of this.#timers) clearInterval(timer);
    this.#agent.destroy();
    const notes: string[] = [];
    if (this.#kept.count > 0) {
      const refused = this.#failed === 0 ? "" : `; ${this.#failed} were not answered with 200`;
      notes.push(`A health check every ${keptEveryMs} ms was answered in ${describe(this.#kept)}${refused}.`);
    }
    if (this.#new.count > 0)
      notes.push(`One every ${newEveryMs} ms on a new connection took ${describe(this.#new)}.`);
    if (this.#apart.count > 0) notes.push(`On the operators' port that took ${describe(this.#apart)}.`);
    return notes;
  }

  #every(ms: number, check: () => Promise<number | undefined>, latency: Latency): void {
    const measure = (): void => {
      const startMs = performance.now();
      check().then(
        (status) => {
          latency.record(performance.now() - startMs);
          if (status !== 200) this.#failed++;
        },
        () => {}, // also that of those under way at the end
      );
    };
    this.#timers.push(setInterval(measure, ms).unref());
  }
}

/** One check; its status. */
function ask(url: string, agent: Agent | false): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode));
    }).on("error", reject);
  });
}

function describe(latency: Latency): string {
  const { p50Ms, p99Ms, maxMs } = latency.quantiles;
  return `p50 ${p50Ms.toFixed(1)}, p99 ${p99Ms.toFixed(1)}, at most ${maxMs.toFixed(1)} ms`;
}

let probe: Probe | undefined;

const handlers = {
  /** Settles once it has been answered on the connection that it keeps. */
  async begin(urls: Urls): Promise<void> {
    probe = await Probe.begin(urls);
  },

  /** Sentences for a row's notes; none when it was never answered. */
  end(): string[] {
    return probe?.end() ?? [];
  },
};
export type HealthHandlers = typeof handlers;

serveAsks(handlers);
