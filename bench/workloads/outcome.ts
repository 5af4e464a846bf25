/* Outcome: what came about in a run, joined from what its load processes tell.
 *
 *     samples of all processes ──one after the other──> OutcomeBuilder ─┬─> intervals, meanwhile
 *                                                                      └─> Outcome ──several of a kind──> Outcome */

import { Latency } from "../latency.ts";
import type { Sample } from "../load/load-process.ts";
import { type Spent, cpuShare } from "../measure.ts";
import type { LoadResult, Series } from "../report/result.ts";

/** What happened in a run, over all processes. */
export interface Outcome {
  seconds: number;
  deliveries: number;
  /** What all readers read, whatever it was. */
  bytes: number;
  publishes: number;
  answers: number;
  /** Messages that left late. */
  late: number;
  latency: Latency;
  /** Of readers that can be slow. */
  slowLatency: Latency;
  answerLatency: Latency;
  series: Series;
  load: LoadResult;
}

export interface Interval {
  seconds: number;
  deliveriesPerSecond: number;
  publishesPerSecond: number;
  p99: number;
  /** The busiest load process's. */
  loadShare: number;
}

/** Shorter ones say little, and are joined to the next. */
const shortestIntervalSeconds = 0.05;
/** A load that spends so much of what it has is taken to be what limited. */
const limitingShare = 0.9;

/** Of all processes, since the beginning. */
export interface Totals {
  messages: number;
  bytes: number;
  /** Messages of readers that cannot be slow. */
  quick: number;
  published: number;
  answered: number;
  expected: number;
  late: number;
}

/** @throws what failed in one of them */
export function totalsOf(samples: readonly Sample[]): Totals {
  const failure = samples.find((sample) => sample.failure !== undefined)?.failure;
  if (failure !== undefined) throw new Error(failure);
  const sum = (of: (sample: Sample) => number): number =>
    samples.reduce((total, sample) => total + of(sample), 0);
  return {
    messages: sum((sample) => sample.messages),
    bytes: sum((sample) => sample.bytes),
    quick: sum((sample) => sample.messages - sample.slowMessages),
    published: sum((sample) => sample.published),
    answered: sum((sample) => sample.answered),
    expected: sum((sample) => sample.expected),
    late: sum((sample) => sample.late),
  };
}

type Arrays = Required<Record<Exclude<keyof Series, "reconnects100Ms">, number[]>>;

/** Gathers samples into an outcome. */
export class OutcomeBuilder {
  readonly #first: Totals;
  readonly #loadCores: number | undefined;
  readonly #latency = new Latency();
  readonly #slowLatency = new Latency();
  readonly #answerLatency = new Latency();
  readonly #series: Arrays = {
    at: [],
    deliveriesPerSecond: [],
    publishesPerSecond: [],
    p50: [],
    p99: [],
    rssBytes: [],
  };
  #spent: Spent[] = [];
  /** Of the interval at hand: what was before it, what has come since. */
  #before: { atSeconds: number; totals: Totals };
  #pending = new Latency();
  #last: Totals;

  constructor(first: Totals, loadCores: number | undefined) {
    this.#first = first;
    this.#last = first;
    this.#before = { atSeconds: 0, totals: first };
    this.#loadCores = loadCores;
  }

  /** Answers the interval that this sample completes; none when it is too short to say much, and then it is joined to the next. */
  add(
    samples: readonly Sample[],
    { atSeconds, totals, rssBytes }: { atSeconds: number; totals: Totals; rssBytes: number | undefined },
  ): Interval | undefined {
    this.#last = totals;
    this.#spent = samples.map(({ spent }, i) => addSpent(this.#spent[i], spent));
    const latency = merged(samples.map((sample) => sample.latency));
    const answers = merged(samples.map((sample) => sample.answerLatency));
    this.#latency.add(latency);
    this.#answerLatency.add(answers);
    this.#slowLatency.add(merged(samples.map((sample) => sample.slowLatency)));
    this.#pending.add(totals.expected > 0 ? latency : answers);
    const { atSeconds: beforeSeconds, totals: before } = this.#before;
    const seconds = atSeconds - beforeSeconds;
    if (seconds < shortestIntervalSeconds) return undefined;
    const interval: Interval = {
      seconds,
      deliveriesPerSecond: Math.round((totals.messages - before.messages) / seconds),
      publishesPerSecond: Math.round((totals.published - before.published) / seconds),
      p99: round(this.#pending.percentile(99)),
      loadShare: Math.max(...samples.map((sample) => cpuShare(sample.spent))),
    };
    this.#series.at.push(round(atSeconds));
    this.#series.deliveriesPerSecond.push(interval.deliveriesPerSecond);
    this.#series.publishesPerSecond.push(interval.publishesPerSecond);
    this.#series.p50.push(round(this.#pending.percentile(50)));
    this.#series.p99.push(interval.p99);
    if (rssBytes !== undefined) this.#series.rssBytes.push(rssBytes);
    this.#pending.reset();
    this.#before = { atSeconds, totals };
    return interval;
  }

  build(seconds: number): Outcome {
    const { rssBytes, ...series } = this.#series;
    return {
      seconds,
      deliveries: this.#last.messages - this.#first.messages,
      bytes: this.#last.bytes - this.#first.bytes,
      publishes: this.#last.published - this.#first.published,
      answers: this.#last.answered - this.#first.answered,
      late: this.#last.late - this.#first.late,
      latency: this.#latency,
      slowLatency: this.#slowLatency,
      answerLatency: this.#answerLatency,
      series: rssBytes.length === series.at.length ? { ...series, rssBytes } : series,
      load: loadResult(this.#spent, this.#loadCores),
    };
  }
}

/** Several runs as one: of a kind, one after the other. */
export function joinOutcomes(outcomes: readonly Outcome[]): Outcome {
  const sum = (of: (outcome: Outcome) => number): number =>
    outcomes.reduce((total, outcome) => total + of(outcome), 0);
  const join = (of: (outcome: Outcome) => Latency): Latency => {
    const latency = new Latency();
    for (const outcome of outcomes) latency.add(of(outcome));
    return latency;
  };
  let seconds = 0;
  const at: number[] = [];
  for (const outcome of outcomes) {
    at.push(...outcome.series.at.map((each) => round(seconds + each)));
    seconds += outcome.seconds;
  }
  const all = (of: (series: Series) => number[] | undefined): number[] =>
    outcomes.flatMap(({ series }) => of(series) ?? []);
  const rssBytes = all((series) => series.rssBytes);
  return {
    seconds,
    deliveries: sum((outcome) => outcome.deliveries),
    bytes: sum((outcome) => outcome.bytes),
    publishes: sum((outcome) => outcome.publishes),
    answers: sum((outcome) => outcome.answers),
    late: sum((outcome) => outcome.late),
    latency: join((outcome) => outcome.latency),
    slowLatency: join((outcome) => outcome.slowLatency),
    answerLatency: join((outcome) => outcome.answerLatency),
    series: {
      at,
      deliveriesPerSecond: all((series) => series.deliveriesPerSecond),
      publishesPerSecond: all((series) => series.publishesPerSecond),
      p50: all((series) => series.p50),
      p99: all((series) => series.p99),
      ...(rssBytes.length === at.length ? { rssBytes } : {}),
    },
    load: {
      processes: Math.max(...outcomes.map(({ load }) => load.processes)),
      cpuShare: Math.max(...outcomes.map(({ load }) => load.cpuShare)),
      isBottleneck: outcomes.some(({ load }) => load.isBottleneck),
    },
  };
}

/** What the load processes spent, judged. `cores` is how many they had to share. */
export function loadResult(spent: readonly Spent[], cores: number | undefined): LoadResult {
  const shares = spent.map(cpuShare);
  const busiest = Math.max(0, ...shares);
  const together = shares.reduce((sum, share) => sum + share, 0);
  return {
    processes: spent.length,
    cpuShare: round(busiest),
    isBottleneck:
      busiest >= limitingShare ||
      (cores !== undefined && together >= limitingShare * Math.min(cores, spent.length)),
  };
}

function addSpent(a: Spent | undefined, b: Spent): Spent {
  if (a === undefined) return b;
  return {
    seconds: a.seconds + b.seconds,
    userSeconds: a.userSeconds + b.userSeconds,
    systemSeconds: a.systemSeconds + b.systemSeconds,
  };
}

function merged(encoded: readonly (string | undefined)[]): Latency {
  const latency = new Latency();
  for (const text of encoded) if (text !== undefined) latency.add(Latency.decode(text));
  return latency;
}

function round(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
