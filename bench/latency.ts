/* Latency: how long things took, as an HDR histogram of microseconds. */

import { type Histogram, build } from "hdr-histogram-js";

export interface Quantiles {
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

export class Latency {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 600_000_000,
    numberOfSignificantValueDigits: 3,
  });

  record(ms: number): void {
    this.#histogram.recordValue(Math.max(1, Math.round(ms * 1_000)));
  }

  /** Measures how long `work` takes. */
  async time<T>(work: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    const result = await work();
    this.record(performance.now() - startMs);
    return result;
  }

  get quantiles(): Quantiles {
    const ms = (percentile: number): number => this.#histogram.getValueAtPercentile(percentile) / 1_000;
    return { p50Ms: ms(50), p99Ms: ms(99), maxMs: this.#histogram.maxValue / 1_000 };
  }
}
