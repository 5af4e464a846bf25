/* Clients: readers and publishers through the SDK, as an application has them: they know all nodes, come back by themselves, and go on
 * where they were.
 *
 *   open ─► begin (posts at a pace) ─► told how it goes ─► finish: posts end, and all that was answered has come, or is missing
 *
 * Every post has a stamp; each reader notes how often it got which. */

import { setTimeout as sleep } from "node:timers/promises";

import { type Client, type Stream, connect } from "../../clients/node/index.ts";
import { type Progress, serveAsks } from "../asks.ts";
import { Latency } from "../latency.ts";
import { type Spent, startMeasuring } from "../measure.ts";
import { fixedName } from "./dialect.ts";
import { isStamp, makeFiller, makeStamp, nowMicros, readMicros, readSequence, stampBytes } from "./stamp.ts";

export interface ClientsOptions {
  /** Of all nodes. */
  urls: string[];
  prefix: string;
  readers: number;
  /** All of them are followed by every reader. */
  authors: number;
  publishers: number;
  payloadBytes: number;
}

/** How it goes. */
export interface ClientsState {
  published: number;
  deliveries: number;
  reconnects: number;
  connected: number;
}

/** What came of it. Times are of the machine's clock, in µs. */
export interface ClientsOutcome {
  startMicros: number;
  endMicros: number;
  published: number;
  /** Posts that were refused for good, or not answered in time: these may have been stored, or not. */
  unanswered: number;
  deliveries: number;
  /** Of all readers together: posts that were answered and never came, and ones that came again. */
  missed: number;
  repeated: number;
  latency: string | undefined;
  /** From losing a session to the next. */
  away: string | undefined;
  /** When sessions came back. */
  reconnectMicros: number[];
  /** In each tenth of a second since the start. */
  deliveries100Ms: number[];
  spent: Spent;
}

/** Requests to follow and connections that are made at once. */
const atOnce = 64;
const bucketMicros = 100_000;
/** Nothing comes any more for so long, and someone lacks something: it is missing. */
const settleMs = 15_000;
const settlePollMs = 20;
/** A post that leaves so late is stamped with the time it was due. */
const grainMicros = 2_000;

interface Reading {
  client: Client;
  stream: Stream;
  /** How often each sequence came. */
  got: Uint8Array;
}

let options: ClientsOptions;
const readings: Reading[] = [];
const publishers: Client[] = [];
const latency = new Latency();
const away = new Latency();
const reconnectMicros: number[] = [];
const deliveries100Ms: number[] = [];
/** Sequences that were answered. */
const answered: boolean[] = [];
let published = 0;
let unanswered = 0;
let deliveries = 0;
let startMicros = 0;
let spent = startMeasuring();
let posting: Promise<void> | undefined;
const over = new AbortController();
/** What ended a reader's stream: it then lacks something. */
let failure: Error | undefined;

const handlers = {
  async open(given: ClientsOptions, progress: Progress): Promise<void> {
    options = given;
    const { urls, prefix, readers, authors } = given;
    for (let i = 0; i < given.publishers; i++)
      publishers.push(await connect(urls, { user: fixedName(`${prefix}p`, i) }));
    await atATime(readers, async (i) => {
      const client = await connect(urls, { user: fixedName(`${prefix}r`, i), device: "bench" });
      for (let author = 0; author < authors; author++) await client.follow(authorName(author));
      await read(client);
      progress(readings.length);
    });
  },

  begin({ perSecond }: { perSecond: number }): void {
    startMicros = nowMicros();
    spent = startMeasuring();
    posting = post(perSecond);
  },

  state(): ClientsState {
    if (failure !== undefined) throw failure;
    const connected = readings.filter(({ client }) => client.connected).length;
    return { published, deliveries, reconnects: reconnectMicros.length, connected };
  },

  async finish(): Promise<ClientsOutcome> {
    over.abort();
    await posting;
    await settle();
    return {
      startMicros,
      endMicros: nowMicros(),
      published,
      unanswered,
      deliveries,
      missed: readings.reduce((sum, reading) => sum + missedOf(reading), 0),
      repeated: readings.reduce((sum, { got }) => sum + repeatedOf(got), 0),
      latency: latency.encode(),
      away: away.encode(),
      reconnectMicros,
      deliveries100Ms,
      spent: spent(),
    };
  },

  async close(): Promise<void> {
    await Promise.all(
      [...readings.map(({ client }) => client), ...publishers].map((client) => client.close()),
    );
  },
};
export type ClientsHandlers = typeof handlers;

serveAsks(handlers);

function authorName(author: number): string {
  return fixedName(`${options.prefix}a`, author);
}

/** Begins to read `home`, and settles when it is live. */
async function read(client: Client): Promise<void> {
  let lostMicros = 0;
  client.on("disconnect", () => (lostMicros = nowMicros()));
  client.on("connect", () => {
    const micros = nowMicros();
    away.recordMicros(micros - lostMicros);
    reconnectMicros.push(micros);
  });
  const reading: Reading = { client, stream: client.stream("home"), got: new Uint8Array(4_096) };
  readings.push(reading);
  await new Promise<void>((onLive, reject) => {
    take(reading, onLive).catch((error: unknown) => {
      failure ??= error as Error;
      reject(error);
    });
  });
}

async function take(reading: Reading, onLive: () => void): Promise<void> {
  for await (const event of reading.stream) {
    if (event.event === "live") onLive();
    if (event.event !== "post") continue;
    const text = Buffer.from(event.post.text.slice(0, stampBytes));
    if (!isStamp(text, 0)) throw new Error(`a reader got a post that nobody published: ${event.post.text}`);
    const micros = nowMicros();
    const sequence = readSequence(text, 0);
    if (sequence >= reading.got.length) {
      const longer = new Uint8Array(reading.got.length * 2);
      longer.set(reading.got);
      reading.got = longer;
    }
    reading.got[sequence]!++;
    deliveries++;
    latency.recordMicros(micros - readMicros(text, 0));
    const bucket = Math.max(0, Math.floor((micros - startMicros) / bucketMicros));
    while (deliveries100Ms.length <= bucket) deliveries100Ms.push(0);
    deliveries100Ms[bucket]!++;
  }
}

/** Publishes until it is over; settles when each post is answered or given up. */
async function post(perSecond: number): Promise<void> {
  const filler = makeFiller(options.payloadBytes);
  const everyMicros = 1e6 / perSecond;
  const under: Promise<void>[] = [];
  while (!over.signal.aborted) {
    const now = nowMicros();
    for (;;) {
      const dueMicros = startMicros + published * everyMicros;
      if (dueMicros > now) break;
      const text = makeStamp(published, now - dueMicros > grainMicros ? dueMicros : now) + filler;
      under.push(postOne(published++, text));
    }
    await sleep(Math.max(0, (startMicros + published * everyMicros - nowMicros()) / 1_000));
  }
  await Promise.all(under);
}

async function postOne(sequence: number, text: string): Promise<void> {
  const author = sequence % options.authors;
  try {
    await publishers[author % publishers.length]!.post(text, { as: authorName(author) });
    answered[sequence] = true;
  } catch {
    unanswered++;
  }
}

/** Waits until each reader has all that was answered, or nothing comes any more. */
async function settle(): Promise<void> {
  for (let [stillMs, before] = [0, -1]; stillMs < settleMs; stillMs += settlePollMs) {
    if (readings.every((reading) => missedOf(reading) === 0)) return;
    if (deliveries !== before) stillMs = 0;
    before = deliveries;
    await sleep(settlePollMs);
  }
}

function missedOf({ got }: Reading): number {
  let missed = 0;
  for (let sequence = 0; sequence < published; sequence++)
    if (answered[sequence] === true && (got[sequence] ?? 0) === 0) missed++;
  return missed;
}

function repeatedOf(got: Uint8Array): number {
  return got.reduce((sum, count) => sum + Math.max(0, count - 1), 0);
}

async function atATime(count: number, task: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, work));
}
