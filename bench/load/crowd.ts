/* Crowd: the readers of one load process, and what they got.
 *
 * Of each reader a count and the XOR of the hashes of what it got is kept: compared with the same over what was published
 * to its topics they tell whether anything is missing or came twice. A message that has reached all of the crowd's
 * readers of its topic is complete here; the publisher is told. */

import { setTimeout as sleep } from "node:timers/promises";

import { Connection } from "./connection.ts";
import type { Dialect, ReaderRequest } from "./dialect.ts";
import { KeepAlive } from "./keep-alive.ts";
import { hashSequence } from "./stamp.ts";

/** Which topics a row of readers reads: reader `first + i` reads `topics[offsets[i]] … topics[offsets[i + 1] - 1]`. */
export interface Follows {
  first: number;
  offsets: Uint32Array;
  topics: Uint32Array;
}

/** What was published to each topic, or what of it a reader has got. */
export interface Tally {
  counts: Uint32Array;
  digests: Int32Array;
}

export interface CrowdOptions {
  dialect: Dialect;
  follows: Follows;
  /** How many topics there are. */
  topicCount: number;
  /** The topic of a sequence is `schedule[sequence % schedule.length]`. */
  schedule: Uint32Array;
  payloadBytes: number;
  /** Where each connects from; undefined leaves it to the system. */
  localAddress?: ((index: number) => string) | undefined;
  stream: ReaderRequest["stream"];
  /** Whose sessions all of them are; each its own by default. */
  user: number | undefined;
  /** Every so-manieth reader, from the first on, can be made to read slowly; none by default. */
  slowEvery?: number | undefined;
  onComplete: (sequence: number) => void;
  onMessage: (latencyMicros: number, isSlow: boolean) => void;
  onFailure: (error: Error) => void;
}

export interface OpenCrowd {
  from: "live" | "resume";
  onReady: (ready: number) => void;
}

export interface Faults {
  /** Readers that did not get what they should have. */
  readers: number;
  /** The first of them, as a sentence. */
  first: string | undefined;
}

/** Connections being made at once: within any listen backlog. */
const connectingAtOnce = 256;
const keepAliveTickMs = 100;
/** Messages under way at once are fewer than this. */
const ringSize = 1 << 20;

export class Crowd {
  readonly size: number;
  /** Readers of this crowd by topic. */
  readonly audience: Uint32Array;
  /** Of them, those that cannot be made slow. */
  readonly quickAudience: Uint32Array;
  messages = 0;
  /** What all its readers have read, whatever it was. */
  bytes = 0;
  /** Of them, those of readers that can be slow. */
  slowMessages = 0;
  readonly #options: CrowdOptions;
  readonly #got: Tally;
  /** Of each message under way: how many of its readers here have it. */
  readonly #arrived = new Int32Array(ringSize);
  #connections: Connection[] = [];
  #churned = 0;
  #keepAlive: NodeJS.Timeout | undefined;

  constructor(options: CrowdOptions) {
    this.#options = options;
    const { follows, topicCount } = options;
    this.size = follows.offsets.length - 1;
    this.audience = new Uint32Array(topicCount);
    this.quickAudience = new Uint32Array(topicCount);
    for (let i = 0; i < this.size; i++) {
      const isQuick = this.#canBeSlow(i) ? 0 : 1;
      for (let at = follows.offsets[i]!; at < follows.offsets[i + 1]!; at++) {
        this.audience[follows.topics[at]!]!++;
        this.quickAudience[follows.topics[at]!]! += isQuick;
      }
    }
    this.#got = { counts: new Uint32Array(this.size), digests: new Int32Array(this.size) };
  }

  /** Connects all; settles when the last is ready. The next one connects when one before is let in, ready or not: a storm. */
  open({ from, onReady }: OpenCrowd): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.size === 0) resolve();
      let begun = 0;
      let ready = 0;
      const next = (): void => {
        if (begun === this.size) return;
        const index = begun++;
        const isReady = (): void => {
          ready++;
          onReady(ready);
          if (ready === this.size) resolve();
        };
        this.#connections[index] = this.#connect({ index, from, isLetIn: next, isReady, reject });
      };
      for (let i = 0; i < Math.min(connectingAtOnce, this.size); i++) next();
    });
  }

  /** Drops one after the other and connects it anew, live; settles when the time is over and all are ready. */
  async churn(perSecond: number, seconds: number): Promise<number> {
    const total = Math.max(1, Math.round(perSecond * seconds));
    const ready: Promise<void>[] = [];
    for (let i = 0; i < total; i++) {
      const index = this.#churned++ % this.size;
      this.#connections[index]?.close();
      ready.push(
        new Promise((resolve, reject) => {
          this.#connections[index] = this.#connect({
            index,
            from: "live",
            isLetIn: () => {},
            isReady: resolve,
            reject,
          });
        }),
      );
      await sleep(1_000 / perSecond);
    }
    await Promise.all(ready);
    return total;
  }

  /** Drops all connections; what was got stays counted. */
  drop(): void {
    clearInterval(this.#keepAlive);
    this.#keepAlive = undefined;
    for (const connection of this.#connections) connection.close();
    this.#connections = [];
  }

  /** Makes those readers slow that can be, or quick again. */
  setSlow(bytesPerSecond: number | undefined): void {
    for (const [index, connection] of this.#connections.entries()) {
      if (!this.#canBeSlow(index)) continue;
      if (bytesPerSecond === undefined) connection.hurry();
      else connection.slowDown(bytesPerSecond);
    }
  }

  /** Compares with what was published. */
  check(published: Tally): Faults {
    const { follows } = this.#options;
    let readers = 0;
    let first: string | undefined;
    for (let i = 0; i < this.size; i++) {
      let [count, digest] = [0, 0];
      for (let at = follows.offsets[i]!; at < follows.offsets[i + 1]!; at++) {
        const topic = follows.topics[at]!;
        count += published.counts[topic]!;
        digest ^= published.digests[topic]!;
      }
      if (count === this.#got.counts[i] && digest === this.#got.digests[i]) continue;
      readers++;
      first ??= `reader ${follows.first + i} got ${this.#got.counts[i]} messages; ${count} were published to its topics${count === this.#got.counts[i] ? ", others than these" : ""}`;
    }
    return { readers, first };
  }

  #connect(as: {
    index: number;
    from: "live" | "resume";
    isLetIn: () => void;
    isReady: () => void;
    reject: (error: Error) => void;
  }): Connection {
    const { dialect, follows, payloadBytes, localAddress, onFailure } = this.#options;
    const { index, from, isLetIn, isReady, reject } = as;
    const topics = follows.topics.subarray(follows.offsets[index], follows.offsets[index + 1]);
    const reader = follows.first + index;
    const { stream = "home", user = reader } = this.#options;
    const script = dialect.reader({ reader, user, topics, from, stream });
    if (script.keepAlive !== undefined) this.#keepAllAlive(script.keepAlive);
    const isSlow = this.#canBeSlow(index);
    return new Connection({
      address: script.address ?? dialect.address,
      localAddress: localAddress?.(index),
      script,
      payloadBytes,
      readsSmall: isSlow,
      onLetIn: isLetIn,
      onReady: isReady,
      onBytes: (count) => (this.bytes += count),
      onMessage: (sequence, micros, receivedMicros) =>
        this.#take(index, sequence, receivedMicros - micros, isSlow),
      onEnd: (error) => {
        const named = new Error(`reader ${reader}: ${error.message}`);
        reject(named);
        onFailure(named);
      },
    });
  }

  /** Called for each message: no options object, which would be made for each. */
  #take(index: number, sequence: number, latencyMicros: number, isSlow: boolean): void {
    const { schedule, onComplete, onMessage } = this.#options;
    this.messages++;
    if (isSlow) this.slowMessages++;
    this.#got.counts[index]!++;
    this.#got.digests[index]! ^= hashSequence(sequence);
    onMessage(latencyMicros, isSlow);
    const slot = sequence & (ringSize - 1);
    const arrived = ++this.#arrived[slot]!;
    if (arrived < this.audience[schedule[sequence % schedule.length]!]!) return;
    this.#arrived[slot] = 0;
    onComplete(sequence);
  }

  #canBeSlow(index: number): boolean {
    const { slowEvery } = this.#options;
    return slowEvery !== undefined && index % slowEvery === 0;
  }

  /** In turn, over the whole time, so that it is no burst. */
  #keepAllAlive({ send, everyMs }: { send: Buffer; everyMs: number }): void {
    if (this.#keepAlive !== undefined) return;
    const turns = new KeepAlive(everyMs, performance.now());
    this.#keepAlive = setInterval(() => {
      const connections = this.#connections;
      turns.advance(performance.now(), connections.length, (index) => connections[index]?.keepAlive(send));
    }, keepAliveTickMs);
    this.#keepAlive.unref();
  }
}
