/* Load process: a share of a workload's readers and publishers. Told by asks; `Loads` is its other side.
 *
 *   configure ─► prepare (follows) ─► open (readers) ─► publishers ─► run, sampled meanwhile ─► check */

import { serveAsks, type Progress } from "../asks.ts";
import { Latency } from "../latency.ts";
import { type Spent, startMeasuring } from "../measure.ts";
import { CompletionsClient, CompletionsServer } from "./completions.ts";
import { Crowd, type Faults, type Follows, type Tally } from "./crowd.ts";
import type { Dialect, DialectRef, ReaderRequest } from "./dialect.ts";
import { type Pace, Publishing } from "./publishing.ts";
import { comesFromMany, sourceAddress } from "./source-address.ts";

export interface LoadConfiguration {
  dialect: DialectRef;
  follows: Follows;
  topicCount: number;
  schedule: Uint32Array;
  payloadBytes: number;
  stream: ReaderRequest["stream"];
  user: number | undefined;
  slowEvery: number | undefined;
  /** Readers in all processes. */
  readers: number;
}

/** What came about since the sample before, and in all. */
export interface Sample {
  /** Since the beginning. */
  messages: number;
  /** What readers read. */
  bytes: number;
  slowMessages: number;
  published: number;
  answered: number;
  expected: number;
  late: number;
  /** Since the sample before; histograms, encoded. */
  latency: string | undefined;
  slowLatency: string | undefined;
  answerLatency: string | undefined;
  /** What this process spent since the sample before. */
  spent: Spent;
  /** What failed, once. */
  failure: string | undefined;
}

let configuration: LoadConfiguration;
let dialect: Dialect;
let crowd: Crowd;
let publishing: Publishing | undefined;
let server: CompletionsServer | undefined;
let client: CompletionsClient | undefined;
/** What failed first; whatever goes on then is given up. */
let failure: string | undefined;
let giveUp: (error: Error) => void = () => {};
const failed = new Promise<never>((_resolve, reject) => {
  giveUp = reject;
});
failed.catch(() => {}); // told to whoever waits, then or later
let spent = startMeasuring();
const latency = new Latency();
const slowLatency = new Latency();

const handlers = {
  async configure(given: LoadConfiguration): Promise<void> {
    configuration = given;
    dialect = await loadDialect(given.dialect);
    crowd = makeCrowd();
  },

  /** Readers of each topic in this process. */
  audience(): Uint32Array {
    return crowd.audience;
  },

  /** Of them, those that cannot be made slow. */
  quickAudience(): Uint32Array {
    return crowd.quickAudience;
  },

  /** Makes follows: those given, or those of this process's readers. */
  async prepare(given: Follows | undefined, progress: Progress): Promise<void> {
    if (dialect.follow === undefined) throw new Error("the dialect makes no follows");
    const { first, offsets, topics } = given ?? configuration.follows;
    const maker = makePublishing({ connections: 1, firstConnection: 0, fillers: [""] });
    await Promise.race([maker.connect(), failed]);
    let index = 0;
    const made = maker.request({
      count: topics.length,
      encode: (i, { lastId }) => {
        while (offsets[index + 1]! <= i) index++;
        return dialect.follow!({ reader: first + index, topic: topics[i]!, id: lastId + 1 });
      },
      onProgress: progress,
    });
    await Promise.race([made, failed]);
    maker.close();
  },

  async open({ from }: { from: "live" | "resume" }, progress: Progress): Promise<Spent> {
    const opening = startMeasuring();
    await Promise.race([crowd.open({ from, onReady: progress }), failed]);
    return opening();
  },

  /** Drops readers and connects them anew, one after the other; answers how many. */
  async churn({ perSecond, seconds }: { perSecond: number; seconds: number }): Promise<number> {
    return await Promise.race([crowd.churn(perSecond, seconds), failed]);
  },

  drop(): void {
    crowd.drop();
  },

  setSlow({ bytesPerSecond }: { bytesPerSecond: number | undefined }): void {
    crowd.setSlow(bytesPerSecond);
  },

  /** Makes this the process that publishes to readers. Answers the port on which the others tell of completions. */
  async publishers(given: {
    connections: number;
    firstConnection: number;
    fillers: string[];
    audience: Uint32Array;
    crowds: Uint32Array;
  }): Promise<number> {
    publishing = makePublishing(given);
    await publishing.connect();
    server = new CompletionsServer();
    return await server.listen((sequence) => publishing?.onComplete(sequence));
  },

  async tellCompletions({ port }: { port: number }): Promise<void> {
    client = await CompletionsClient.connect(port);
  },

  async run(pace: Pace): Promise<void> {
    await Promise.race([publishing?.run(pace), failed]);
  },

  /** Publishes so many, whoever is there to get them. */
  async publishAway({ posts }: { posts: number }, progress: Progress): Promise<void> {
    await Promise.race([publishing?.publishAway(posts, progress), failed]);
  },

  sample(): Sample {
    const sample: Sample = {
      messages: crowd.messages,
      bytes: crowd.bytes,
      slowMessages: crowd.slowMessages,
      published: publishing?.published ?? 0,
      answered: publishing?.answered ?? 0,
      expected: publishing?.expected ?? 0,
      late: publishing?.late ?? 0,
      latency: latency.encode(),
      slowLatency: slowLatency.encode(),
      answerLatency: publishing?.answerLatency.encode(),
      spent: spent(),
      failure,
    };
    latency.reset();
    slowLatency.reset();
    publishing?.answerLatency.reset();
    spent = startMeasuring();
    return sample;
  },

  published(): Tally | undefined {
    return publishing?.tally;
  },

  check(published: Tally): Faults {
    throwFailure();
    return crowd.check(published);
  },

  close(): void {
    crowd.drop();
    publishing?.close();
    client?.close();
    server?.close();
  },
};
export type LoadHandlers = typeof handlers;

serveAsks(handlers);

async function loadDialect({ module, options }: DialectRef): Promise<Dialect> {
  const ending = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const url = new URL(`../${module}.${ending}`, import.meta.url);
  const { createDialect } = (await import(url.href)) as { createDialect: (options: unknown) => Dialect };
  return createDialect(options);
}

function makeCrowd(): Crowd {
  const { follows, topicCount, schedule, payloadBytes, readers, stream, user, slowEvery } = configuration;
  return new Crowd({
    dialect,
    follows,
    topicCount,
    schedule,
    payloadBytes,
    localAddress: comesFromMany(readers, dialect.address.host)
      ? (index) => sourceAddress(process.pid, index)
      : undefined,
    stream,
    user,
    slowEvery,
    onComplete: (sequence) => {
      if (publishing === undefined) client?.tell(sequence);
      else publishing.onComplete(sequence);
    },
    onMessage: (micros, isSlow) => (isSlow ? slowLatency : latency).recordMicros(micros),
    onFailure: fail,
  });
}

function makePublishing(given: {
  connections: number;
  firstConnection: number;
  fillers: string[];
  audience?: Uint32Array;
  crowds?: Uint32Array;
}): Publishing {
  const { schedule, topicCount } = configuration;
  const nobody = new Uint32Array(topicCount);
  return new Publishing({
    audience: nobody,
    crowds: nobody,
    ...given,
    dialect,
    schedule,
    onFailure: fail,
  });
}

function fail(error: Error): void {
  failure ??= error.message;
  giveUp(error);
}

function throwFailure(): void {
  if (failure !== undefined) throw new Error(failure);
}
