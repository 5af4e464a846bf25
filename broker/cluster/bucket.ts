/* Bucket: a key-value bucket of JetStream with few keys, read from the server that leads it, so that what was written is seen.
 *
 * The client library's own KV reads from any server that keeps a copy, which may not have the newest yet. The layout is NATS's own: its tools
 * can list what is here.
 *
 * Any text is part of a key: what NATS does not take in one is written as `=` and hex digits, byte by byte. */

import { createHash } from "node:crypto";

import {
  ErrorCode,
  type JetStreamClient,
  type JetStreamManager,
  type KvOptions,
  type NatsConnection,
  NatsError,
  StorageType,
  type StoredMsg,
} from "nats";

/** How long NATS may take for one thing, in ms. */
const answerMs = 5_000;
/** Of one part of a key; a longer one is cut, and told from others by its digest. */
const maxPart = 100;
/** JetStream's codes for what is not there. */
const noStream = 10_059;
const noMessage = 10_037;
const refusedByRights: string = ErrorCode.PermissionsViolation;

export interface BucketOptions {
  name: string;
  /** What it is for, for people who look into NATS. */
  description: string;
  /** How long a value is kept after it was written, in ms; undefined: for good. */
  ttlMs?: number;
}

export interface BucketValue {
  text: string;
  /** When NATS stored it, in ms since the Unix epoch. */
  at: number;
}

export class Bucket {
  readonly #options: BucketOptions;
  readonly #js: JetStreamClient;
  readonly #manager: JetStreamManager;
  /** It was seen to be there, and is until something fails. */
  #isThere = false;

  static async of(connection: NatsConnection, options: BucketOptions): Promise<Bucket> {
    const manager = await connection.jetstreamManager({ timeout: answerMs, checkAPI: false });
    return new Bucket(options, connection.jetstream({ timeout: answerMs }), manager);
  }

  private constructor(options: BucketOptions, js: JetStreamClient, manager: JetStreamManager) {
    this.#options = options;
    this.#js = js;
    this.#manager = manager;
  }

  /** Writes a value. A bucket that is missing is made; `replicas` NATS servers keep a copy of it then. */
  async put(key: string, text: string, { replicas }: { replicas: number }): Promise<void> {
    try {
      if (!this.#isThere) await this.#make(replicas);
      this.#isThere = true;
      await this.#js.publish(this.#subject(key), text, { expect: { streamName: this.#stream } });
    } catch (error) {
      this.#isThere = false;
      throw error;
    }
  }

  /** Undefined when there is none. */
  async get(key: string): Promise<BucketValue | undefined> {
    return await this.#last(this.#subject(key));
  }

  /** All values, by their keys' order. */
  async values(): Promise<BucketValue[]> {
    const values: BucketValue[] = [];
    for (const subject of await this.#subjects()) {
      const value = await this.#last(subject);
      if (value !== undefined) values.push(value);
    }
    return values;
  }

  /** It need not be there. */
  async remove(key: string): Promise<void> {
    await this.#manager.streams.purge(this.#stream, { filter: this.#subject(key) });
  }

  async #make(replicas: number): Promise<void> {
    const { name, description, ttlMs } = this.#options;
    const options: Partial<KvOptions> = { history: 1, storage: StorageType.File, replicas, description };
    if (ttlMs !== undefined) options.ttl = ttlMs;
    await this.#js.views.kv(name, options);
  }

  async #subjects(): Promise<string[]> {
    try {
      const { state } = await this.#manager.streams.info(this.#stream, {
        subjects_filter: this.#subject(">"),
      });
      return Object.keys(state.subjects ?? {}).sort();
    } catch (error) {
      if (codeOf(error) === noStream) return [];
      throw error;
    }
  }

  async #last(subject: string): Promise<BucketValue | undefined> {
    let message: StoredMsg;
    try {
      message = await this.#manager.streams.getMessage(this.#stream, { last_by_subj: subject });
    } catch (error) {
      const code = codeOf(error);
      if (code === noStream || code === noMessage) return undefined;
      throw error;
    }
    // What another program deletes leaves a mark.
    if (message.header.get("KV-Operation") !== "") return undefined;
    return { text: message.string(), at: message.time.getTime() };
  }

  get #stream(): string {
    return `KV_${this.#options.name}`;
  }

  #subject(key: string): string {
    return `$KV.${this.#options.name}.${key}`;
  }
}

/** Text as a part of a key; different texts are different parts. */
export function keyPart(text: string): string {
  const part = Array.from(Buffer.from(text), (byte) => partOf(byte)).join("");
  if (part.length > maxPart) {
    const digest = createHash("sha256").update(text).digest("hex");
    return `${part.slice(0, maxPart)}=_${digest}`;
  }
  return part === "" ? "=" : part;
}

function partOf(byte: number): string {
  const character = String.fromCharCode(byte);
  return /[\w-]/.test(character) ? character : `=${byte.toString(16).padStart(2, "0")}`;
}

/** Whether NATS refused something for want of rights. */
export function isForWantOfRights(error: unknown): boolean {
  return error instanceof NatsError && error.code === refusedByRights;
}

function codeOf(error: unknown): number | undefined {
  return error instanceof NatsError ? error.api_error?.err_code : undefined;
}
