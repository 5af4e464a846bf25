/* LogStream: the JetStream stream that is a cluster's log, as far as this node needs it.
 *
 * Reading is in the order of sequences, none left out: a reader that misses one ends, and begins again where it was. */

import {
  AckPolicy,
  type ConsumerMessages,
  DeliverPolicy,
  DiscardPolicy,
  ErrorCode,
  Events,
  type JetStreamClient,
  type JetStreamManager,
  type NatsConnection,
  NatsError,
  RetentionPolicy,
  StorageType,
  nanos,
} from "nats";

import type { ClusterNames } from "./names.ts";

/** How long NATS may take to store a batch, and to answer a question, in ms. When it falls silent, /readyz says so after the latter and one look. */
const storeMs = 2_000;
const answerMs = 3_000;
/** Messages asked for ahead of their use. They hold 256 KiB at most, but for a few. */
const messagesAhead = 128;
/** How often NATS says that there is nothing new, in ms. Two such missed, and the reader ends. */
const heartbeatMs = 1_500;
/** A reader that went without a word is forgotten by NATS after so long, in ms. */
const forgetReaderMs = 60_000;
/** JetStream's code for a message that is not there. */
const noMessage = 10_037;
/** JetStream's code for a stream that is not there. */
const noStream = 10_059;
/** The client's code for a question without an answer. */
const timeout: string = ErrorCode.Timeout;
/** And for one that nobody listens for. */
const noResponders: string = ErrorCode.NoResponders;

export interface StreamOptions {
  /** How many NATS servers keep a copy. */
  replicas: number;
  /** Messages older than this go, in ms; undefined: none for their age. */
  retainAgeMs?: number | undefined;
  /** Bytes kept; undefined: as many as there are. */
  retainBytes?: number | undefined;
}

/** A stream as NATS tells it. */
export interface StreamLook {
  /** When it was created: another time is another stream. */
  created: string;
  /** The oldest sequence kept; one more than `lastSeq` when none is. */
  firstSeq: number;
  lastSeq: number;
}

export interface LogMessage {
  seq: number;
  /** ns since the Unix epoch, to a double's precision. */
  time: number;
  data: Uint8Array;
}

export class LogStream {
  readonly #names: ClusterNames;
  readonly #js: JetStreamClient;
  readonly #manager: JetStreamManager;
  /** Ends of those that read at present. */
  readonly #readers = new Set<() => void>();
  /** No server of NATS is connected. */
  #isAway = false;

  static async of(connection: NatsConnection, names: ClusterNames): Promise<LogStream> {
    const manager = await connection.jetstreamManager({ timeout: answerMs, checkAPI: false });
    const stream = new LogStream(names, connection.jetstream({ timeout: storeMs }), manager);
    void stream.#follow(connection);
    return stream;
  }

  private constructor(names: ClusterNames, js: JetStreamClient, manager: JetStreamManager) {
    this.#names = names;
    this.#js = js;
    this.#manager = manager;
  }

  /** Makes it. @throws NatsError when there is one of that name that differs, or JetStream is not enabled */
  async create({ replicas, retainAgeMs, retainBytes }: StreamOptions): Promise<StreamLook> {
    const { created, state } = await this.#manager.streams.add({
      name: this.#names.stream,
      subjects: [this.#names.log],
      description: "the log of a Whalesong cluster",
      storage: StorageType.File,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      num_replicas: replicas,
      max_age: retainAgeMs === undefined ? 0 : nanos(retainAgeMs),
      max_bytes: retainBytes ?? -1,
      max_msgs: -1,
      deny_delete: true,
    });
    return lookOf(created, state);
  }

  /** Does away with it. */
  async destroy(): Promise<void> {
    await this.#manager.streams.delete(this.#names.stream);
  }

  /** Undefined when there is no such stream. */
  async look(): Promise<StreamLook | undefined> {
    // A question asked now would wait for the connection, and whoever waits for the answer would not know why.
    if (this.#isAway) throw new Error("NATS is away");
    try {
      const { created, state } = await this.#manager.streams.info(this.#names.stream);
      return lookOf(created, state);
    } catch (error) {
      if (codeOf(error) === noStream) return undefined;
      if (error instanceof NatsError && error.code === timeout)
        throw new Error(`NATS did not answer within ${answerMs} ms`, { cause: error });
      if (error instanceof NatsError && error.code === noResponders)
        throw new Error("no server of NATS leads it at present", { cause: error });
      throw error;
    }
  }

  /** When the message `seq` was stored; undefined when it is not kept. */
  async timeOf(seq: number): Promise<number | undefined> {
    try {
      const { timestamp } = await this.#manager.streams.getMessage(this.#names.stream, { seq });
      return nanosOf(timestamp);
    } catch (error) {
      if (codeOf(error) === noMessage) return undefined;
      throw error;
    }
  }

  /** Removes messages up to `seq`, that one included. */
  async purge(seq: number): Promise<void> {
    await this.#manager.streams.purge(this.#names.stream, { seq: seq + 1 });
  }

  /** Stores a batch. Settles with its sequence once JetStream has it. */
  async publish(batch: Uint8Array): Promise<number> {
    const { seq } = await this.#js.publish(this.#names.log, batch, {
      timeout: storeMs,
      expect: { streamName: this.#names.stream },
    });
    return seq;
  }

  /** The messages from `seq` on, as they come, until the signal is aborted or one is missed. */
  async *read(seq: number, signal: AbortSignal): AsyncGenerator<LogMessage> {
    const { stream } = this.#names;
    const { name } = await this.#manager.consumers.add(stream, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: seq,
      ack_policy: AckPolicy.None,
      mem_storage: true,
      num_replicas: 1,
      max_deliver: 1,
      inactive_threshold: nanos(forgetReaderMs),
    });
    const consumer = await this.#js.consumers.get(stream, name);
    const messages = await consumer.consume({
      max_messages: messagesAhead,
      expires: 10 * heartbeatMs,
      idle_heartbeat: heartbeatMs,
    });
    const end = (): void => void messages.close();
    this.#readers.add(end);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
    void endOnTrouble(messages);
    try {
      let expected = seq;
      for await (const message of messages) {
        if (message.seq !== expected++) return;
        yield { seq: message.seq, time: message.info.timestampNanos, data: message.data };
        if (signal.aborted) return;
      }
    } finally {
      signal.removeEventListener("abort", end);
      this.#readers.delete(end);
      end();
      this.#manager.consumers.delete(stream, name).catch(() => {}); // NATS forgets it by itself, too
    }
  }

  /** A consumer may have gone with the server that had it, and the client's own would not be told. */
  async #follow(connection: NatsConnection): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type !== Events.Disconnect && type !== Events.Reconnect) continue;
      this.#isAway = type === Events.Disconnect;
      for (const end of this.#readers) end();
    }
  }
}

/** Whatever it is that a reader is told, a new one finds out. */
async function endOnTrouble(messages: ConsumerMessages): Promise<void> {
  const troubles = new Set<string>([
    "heartbeats_missed",
    "consumer_not_found",
    "stream_not_found",
    "consumer_deleted",
    "no_responders",
  ]);
  for await (const { type } of await messages.status()) if (troubles.has(type)) await messages.close();
}

function lookOf(created: string, state: { first_seq: number; last_seq: number }): StreamLook {
  // Of a stream that never had a message NATS says 0 and 0.
  return { created, firstSeq: Math.max(state.first_seq, 1), lastSeq: state.last_seq };
}

function codeOf(error: unknown): number | undefined {
  return error instanceof NatsError ? error.api_error?.err_code : undefined;
}

/** `2026-11-22T03:35:01.123456789Z` as ns since the Unix epoch. */
function nanosOf(timestamp: string): number {
  const [, seconds, fraction = ""] = /^([^.]*?)(?:\.(\d+))?Z$/.exec(timestamp) ?? [];
  return Number(BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, "0")));
}
