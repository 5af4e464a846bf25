/* Health probe: how long a target's health check takes while it is under load: what starves its event loop shows here. */

import { Agent, get } from "node:http";

import { Latency } from "../latency.ts";

const everyMs = 100;

export class HealthProbe {
  readonly #latency = new Latency();
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4 });
  readonly #timer: NodeJS.Timeout;
  #failed = 0;

  constructor(url: string) {
    this.#timer = setInterval(() => this.#ask(url), everyMs).unref();
  }

  /** A sentence for the row's notes; undefined when it was never answered. */
  end(): string | undefined {
    clearInterval(this.#timer);
    this.#agent.destroy();
    if (this.#latency.count === 0) return undefined;
    const { p50Ms, p99Ms, maxMs } = this.#latency.quantiles;
    const refused = this.#failed === 0 ? "" : `; ${this.#failed} were not answered with 200`;
    return `A health check every ${everyMs} ms was answered in p50 ${p50Ms.toFixed(1)}, p99 ${p99Ms.toFixed(1)}, at most ${maxMs.toFixed(1)} ms${refused}.`;
  }

  #ask(url: string): void {
    const startMs = performance.now();
    get(url, { agent: this.#agent }, (response) => {
      response.resume();
      response.on("end", () => {
        this.#latency.record(performance.now() - startMs);
        if (response.statusCode !== 200) this.#failed++;
      });
    }).on("error", () => {}); // also that of those under way at the end
  }
}
