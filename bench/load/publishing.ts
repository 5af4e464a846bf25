/* Publishing: what one load process publishes, and when.
 *
 *   closed   so many messages in flight: another goes out when one has reached all its readers, and never before
 *   paced    so many a second, whether or not they arrive; a message is stamped with the time it was due
 *   answered so many unanswered on each connection: for what has no readers
 *
 * A message that goes out late because the load was busy, or because the target held it back, keeps the time it was due:
 * its wait counts (coordinated omission). Within the grain of the load's own timer it is stamped when it leaves. */

import { Latency } from "../latency.ts";
import { Connection } from "./connection.ts";
import type { Tally } from "./crowd.ts";
import type { Dialect, PublisherScript } from "./dialect.ts";
import { hashSequence, makeStamp, nowMicros } from "./stamp.ts";

export interface PublishingOptions {
  dialect: Dialect;
  connections: number;
  /** Numbers this process's connections apart from those of others. */
  firstConnection: number;
  schedule: Uint32Array;
  /** Behind the stamp, one after the other; all of one length. */
  fillers: readonly string[];
  /** Readers of each topic, in all processes. */
  audience: Uint32Array;
  /** Processes that have readers of each topic. */
  crowds: Uint32Array;
  onFailure: (error: Error) => void;
}

export type Pace =
  | { kind: "closed"; inFlight: number; seconds: number }
  | { kind: "paced"; perSecond: number; seconds: number }
  | { kind: "answered"; inFlight: number; seconds: number };

/** Unanswered on a connection while something is prepared. */
const preparingInFlight = 512;

export interface Publisher {
  connection: Connection;
  script: PublisherScript;
  lastId: number;
  unanswered: number;
  /** Requests whose message has no readers: complete when answered. */
  unread: Set<number>;
  /** When each unanswered request was sent, by its id. */
  sentMicros: Float64Array;
  /** Of `answered`: what goes out when an answer comes. */
  onAnswer: (() => void) | undefined;
}

const sentRing = 1 << 14;
const completeRing = 1 << 20;
/** Lateness of a timer that is not the target's doing. */
const grainMicros = 2_000;

export class Publishing {
  /** Messages published, answered, complete; and deliveries that are to come of them; since the beginning. */
  published = 0;
  answered = 0;
  completed = 0;
  expected = 0;
  readonly tally: Tally;
  /** From sending to the answer. Whoever reads it replaces it. */
  answerLatency = new Latency();
  /** Messages that left later than the timer's grain allows. */
  late = 0;
  readonly #options: PublishingOptions;
  #publishers: Publisher[] = [];
  readonly #crowdsLeft = new Uint16Array(completeRing);
  #keepAlive: NodeJS.Timeout | undefined;
  #endMicros = 0;
  /** Of `closed`. */
  #inFlight = 0;
  #settle: (() => void) | undefined;
  #onChange: (() => void) | undefined;

  constructor(options: PublishingOptions) {
    this.#options = options;
    const topicCount = options.audience.length;
    this.tally = { counts: new Uint32Array(topicCount), digests: new Int32Array(topicCount) };
  }

  async connect(): Promise<void> {
    const { connections } = this.#options;
    this.#publishers = await Promise.all(Array.from({ length: connections }, (_, i) => this.#connect(i)));
    const { keepAlive } = this.#publishers[0]?.script ?? {};
    if (keepAlive === undefined) return;
    const { send, everyMs } = keepAlive;
    this.#keepAlive = setInterval(() => {
      for (const { connection } of this.#publishers) connection.keepAlive(send);
    }, everyMs).unref();
  }

  close(): void {
    clearInterval(this.#keepAlive);
    for (const { connection } of this.#publishers) connection.close();
  }

  /** Publishes at the pace given; settles when the time is over and, but for `paced`, all has arrived or is answered. */
  run(pace: Pace): Promise<void> {
    this.#endMicros = nowMicros() + pace.seconds * 1e6;
    return new Promise((resolve) => {
      this.#settle = resolve;
      if (pace.kind === "closed") this.#runClosed(pace.inFlight);
      else if (pace.kind === "paced") this.#runPaced(pace.perSecond, pace.seconds);
      else this.#runAnswered(pace.inFlight);
    });
  }

  /** Publishes so many, whoever is there to get them; settles when all are answered. */
  async publishAway(posts: number, onProgress: (done: number) => void): Promise<void> {
    await this.request({
      count: posts,
      encode: (_index, { script, lastId }) => script.publish({ ...this.#next(nowMicros()), id: lastId + 1 }),
      onProgress,
    });
  }

  /** A crowd has it all. */
  onComplete(sequence: number): void {
    const slot = sequence & (completeRing - 1);
    if (--this.#crowdsLeft[slot]! > 0) return;
    this.#complete();
  }

  /** Sends requests made by `encode`, many in flight; settles when all are answered. */
  async request(requests: {
    count: number;
    encode: (index: number, publisher: Publisher) => Buffer;
    onProgress: (done: number) => void;
  }): Promise<void> {
    const { count, encode, onProgress } = requests;
    let sent = 0;
    let done = 0;
    if (count === 0) return;
    await new Promise<void>((resolve) => {
      for (const publisher of this.#publishers) {
        const fill = (): void => {
          publisher.connection.gather();
          while (sent < count && publisher.unanswered < preparingInFlight) {
            this.#send(publisher, encode(sent++, publisher));
          }
        };
        publisher.onAnswer = () => {
          onProgress(++done);
          if (done === count) resolve();
          else fill();
        };
        fill();
      }
    });
    for (const publisher of this.#publishers) publisher.onAnswer = undefined;
  }

  #runClosed(inFlight: number): void {
    const fill = (): void => {
      if (this.#isOver()) {
        if (this.#inFlight === 0) this.#finish();
        return;
      }
      while (this.#inFlight < inFlight) {
        this.#inFlight++;
        this.#publish(nowMicros());
      }
    };
    this.#onChange = fill;
    fill();
  }

  #runPaced(perSecond: number, seconds: number): void {
    const startMicros = nowMicros();
    const total = Math.max(1, Math.round(perSecond * seconds));
    const everyMicros = 1e6 / perSecond;
    let sent = 0;
    const tick = (): void => {
      const now = nowMicros();
      while (sent < total && startMicros + sent * everyMicros <= now) {
        const dueMicros = startMicros + sent * everyMicros;
        const isLate = now - dueMicros > grainMicros;
        if (isLate) this.late++;
        this.#publish(isLate ? dueMicros : now);
        sent++;
      }
      if (sent === total) this.#finish();
      else setTimeout(tick, Math.max(0, (startMicros + sent * everyMicros - nowMicros()) / 1_000));
    };
    tick();
  }

  #runAnswered(inFlight: number): void {
    let busy = this.#publishers.length;
    for (const publisher of this.#publishers) {
      const fill = (): void => {
        if (!this.#isOver()) {
          while (publisher.unanswered < inFlight) this.#publish(nowMicros(), publisher);
        } else if (publisher.unanswered === 0) {
          publisher.onAnswer = undefined;
          if (--busy === 0) this.#finish();
        }
      };
      publisher.onAnswer = fill;
      fill();
    }
  }

  #isOver(): boolean {
    return nowMicros() >= this.#endMicros;
  }

  #publish(stampMicros: number, chosen?: Publisher): void {
    const { topic, payload } = this.#next(stampMicros);
    // One author's messages keep to one connection, and so keep their order.
    const publisher = chosen ?? this.#publishers[topic % this.#publishers.length]!;
    publisher.connection.gather();
    this.#send(publisher, publisher.script.publish({ topic, payload, id: publisher.lastId + 1 }));
    // Nobody is to get it: it is on its way until the target answers, where it does.
    if (this.#options.crowds[topic] === 0 && chosen === undefined) this.#completeUnread(publisher);
  }

  /** The message that is next, counted as published. */
  #next(stampMicros: number): { topic: number; payload: string } {
    const { schedule, fillers, audience, crowds } = this.#options;
    const sequence = this.published++;
    const topic = schedule[sequence % schedule.length]!;
    this.tally.counts[topic]!++;
    this.tally.digests[topic]! ^= hashSequence(sequence);
    this.expected += audience[topic]!;
    this.#crowdsLeft[sequence & (completeRing - 1)] = crowds[topic]!;
    return { topic, payload: makeStamp(sequence, stampMicros) + fillers[sequence % fillers.length]! };
  }

  #completeUnread(publisher: Publisher): void {
    if (publisher.script.answers === undefined) queueMicrotask(() => this.#complete());
    else publisher.unread.add(publisher.lastId);
  }

  #complete(): void {
    this.completed++;
    if (this.#inFlight > 0) this.#inFlight--;
    this.#onChange?.();
  }

  #send(publisher: Publisher, bytes: Buffer): void {
    const id = ++publisher.lastId;
    publisher.sentMicros[id & (sentRing - 1)] = nowMicros();
    publisher.unanswered++;
    publisher.connection.write(bytes);
  }

  #finish(): void {
    this.#onChange = undefined;
    this.#settle?.();
    this.#settle = undefined;
  }

  async #connect(index: number): Promise<Publisher> {
    const { dialect, firstConnection, onFailure } = this.#options;
    const script = dialect.publisher(firstConnection + index);
    return await new Promise((resolve, reject) => {
      const connection = new Connection({
        address: script.address ?? dialect.address,
        script,
        onReady: () => resolve(publisher),
        onChunk: (bytes) => script.answers?.(bytes, (id, refusal) => this.#answered(publisher, id, refusal)),
        onEnd: (error) => {
          const named = new Error(`publisher ${index}: ${error.message}`);
          reject(named);
          onFailure(named);
        },
      });
      const publisher: Publisher = {
        connection,
        script,
        lastId: 0,
        unanswered: 0,
        unread: new Set(),
        sentMicros: new Float64Array(sentRing),
        onAnswer: undefined,
      };
    });
  }

  #answered(publisher: Publisher, id: number, refusal: string | undefined): void {
    if (refusal !== undefined) {
      this.#options.onFailure(new Error(`the target refused a request: ${refusal}`));
      return;
    }
    this.answered++;
    publisher.unanswered--;
    this.answerLatency.record((nowMicros() - publisher.sentMicros[id & (sentRing - 1)]!) / 1_000);
    if (publisher.unread.delete(id)) this.#complete();
    publisher.onAnswer?.();
  }
}
