/* Latency: how long things took, as an HDR histogram of microseconds. Histograms of several processes are merged. */

import {
  type Histogram,
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
} from "hdr-histogram-js";

export interface Quantiles {
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

/** Where a curve has its points: closer and closer to 100. */
const curvePercentiles = [
  0, 1, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98,
  99.99, 99.995, 99.999, 100,
];

export class Latency {
  #histogram: Histogram = build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: 3_600_000_000,
    numberOfSignificantValueDigits: 3,
  });

  record(ms: number): void {
    this.recordMicros(ms * 1_000);
  }

  /** A time below 1 µs counts as 1. */
  recordMicros(micros: number): void {
    this.#histogram.recordValue(Math.max(1, Math.min(3_600_000_000, Math.round(micros))));
  }

  /** Measures how long `work` takes. */
  async time<T>(work: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    const result = await work();
    this.record(performance.now() - startMs);
    return result;
  }

  add(other: Latency): void {
    this.#histogram.add(other.#histogram);
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  /** In ms; 0 when nothing was recorded. */
  percentile(percentile: number): number {
    return this.count === 0 ? 0 : this.#histogram.getValueAtPercentile(percentile) / 1_000;
  }

  get maxMs(): number {
    return this.count === 0 ? 0 : this.#histogram.maxValue / 1_000;
  }

  get quantiles(): Quantiles {
    return { p50Ms: this.percentile(50), p99Ms: this.percentile(99), maxMs: this.maxMs };
  }

  /** [percentile, ms], ascending. */
  get curve(): [percentile: number, ms: number][] {
    return curvePercentiles.map((percentile) => [percentile, this.percentile(percentile)]);
  }

  reset(): void {
    this.#histogram.reset();
  }

  /** As text, to be sent to another process; undefined when nothing was recorded. */
  encode(): string | undefined {
    return this.count === 0 ? undefined : encodeIntoCompressedBase64(this.#histogram);
  }

  static decode(text: string | undefined): Latency {
    const latency = new Latency();
    if (text !== undefined) latency.#histogram = decodeFromCompressedBase64(text, 32);
    return latency;
  }
}
