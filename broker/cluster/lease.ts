/* Lease: which node does what one node does at a time.
 *
 *   waiting ──created──> holding ──renewed, three times in its life──> holding
 *      ^─────── not renewed in time, or found taken by another ──────────┘
 *
 * A key in a bucket whose keys expire. NATS counts a key's life from when it stored it, the holder from before it asked: the
 * holder lets go first, also when it cannot reach NATS. One that was paused wakes up and holds no more: `isHeld` looks
 * at the clock. What hangs on the lease must bear a moment with two holders all the same, since clocks can jump. */

import { type KV, type NatsConnection, NatsError, StorageType, nuid } from "nats";

import type { Logger } from "../logger.ts";
import { pause } from "./connection.ts";

const key = "keeper";
const defaultTtlMs = 15_000;
/** Turns in the life of a key. */
const turns = 3;
/** JetStream's code for a write that expected another revision. */
const wrongRevision = 10_071;
const noStream = 10_059;

export interface LeaseOptions {
  bucket: string;
  /** This node's name, for people who look into the bucket. */
  node: string;
  /** How long it lasts without being renewed, in ms. All nodes must say the same. @default 15,000 */
  ttlMs?: number;
  /** NATS servers that keep a copy of the bucket. */
  replicas: number;
  logger: Logger;
}

interface Tenure {
  revision: number;
  /** By the monotonic clock, in ms. */
  until: number;
  readonly ended: AbortController;
  overdue: NodeJS.Timeout | undefined;
}

export class Lease {
  readonly #connection: NatsConnection;
  readonly #options: Required<LeaseOptions>;
  readonly #value: string;
  readonly #closing = new AbortController();
  #bucket: KV | undefined;
  #tenure: Tenure | undefined;
  /** Until then it is left to others, by the monotonic clock, in ms. */
  #restsUntil = 0;
  readonly #running: Promise<void>;

  /** Begins to try. */
  constructor(connection: NatsConnection, options: LeaseOptions) {
    this.#connection = connection;
    this.#options = { ttlMs: defaultTtlMs, ...options };
    this.#value = `${options.node} ${nuid.next()}`;
    this.#running = this.#run();
  }

  /** Whether this node holds it now. */
  get isHeld(): boolean {
    return this.#tenure !== undefined && performance.now() < this.#tenure.until;
  }

  /** While it is held: aborted once it is lost or given back. */
  get tenure(): AbortSignal | undefined {
    return this.isHeld ? this.#tenure!.ended.signal : undefined;
  }

  /** Gives it back, and leaves it to others for `ms`: this node cannot do what it is for. */
  async rest(ms: number): Promise<void> {
    this.#restsUntil = performance.now() + ms;
    await this.#giveBack();
  }

  /** Gives it back, so that another may have it at once. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
    await this.#giveBack();
  }

  async #giveBack(): Promise<void> {
    const tenure = this.#tenure;
    this.#end("it is given back");
    if (tenure === undefined || this.#bucket === undefined) return;
    await this.#bucket.delete(key, { previousSeq: tenure.revision }).catch(() => {}); // then it expires
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      if (performance.now() >= this.#restsUntil) await this.#turn();
      await pause(this.#options.ttlMs / turns, signal).catch(() => {});
    }
  }

  async #turn(): Promise<void> {
    const asked = performance.now();
    const tenure = this.#tenure;
    try {
      const bucket = await this.#open();
      const revision =
        tenure === undefined
          ? await bucket.create(key, this.#value)
          : await bucket.update(key, this.#value, tenure.revision);
      this.#hold(revision, asked);
    } catch (error) {
      if (codeOf(error) === wrongRevision) await this.#look(asked);
      else this.#forgetBucket(error); // NATS is away: it is held until its time is over
    }
  }

  /** Somebody wrote it since: another, or this one, whose answer was lost. */
  async #look(asked: number): Promise<void> {
    try {
      const entry = await (await this.#open()).get(key);
      if (entry?.operation === "PUT" && entry.string() === this.#value)
        this.#hold(entry.revision, asked, false);
      else this.#end("another node has it");
    } catch (error) {
      this.#forgetBucket(error);
    }
  }

  /** `isRenewed` false: as of a writing whose time is not known, so its end stays as it is. */
  #hold(revision: number, asked: number, isRenewed = true): void {
    const { ttlMs, node, logger } = this.#options;
    if (this.#tenure === undefined) {
      if (!isRenewed) return; // left over from before its time was over: it expires
      this.#tenure = { revision, until: 0, ended: new AbortController(), overdue: undefined };
      logger.info({ node }, "this node is the cluster's keeper");
    }
    const tenure = this.#tenure;
    tenure.revision = revision;
    if (!isRenewed) return;
    tenure.until = asked + ttlMs;
    clearTimeout(tenure.overdue);
    tenure.overdue = setTimeout(
      () => this.#end("it was not renewed in time"),
      Math.max(0, tenure.until - performance.now()),
    );
    tenure.overdue.unref();
  }

  #end(reason: string): void {
    const tenure = this.#tenure;
    if (tenure === undefined) return;
    this.#tenure = undefined;
    clearTimeout(tenure.overdue);
    tenure.ended.abort(new Error(`the lease is lost: ${reason}`));
    this.#options.logger.info(
      { node: this.#options.node, reason },
      "this node is no longer the cluster's keeper",
    );
  }

  async #open(): Promise<KV> {
    const { bucket, ttlMs, replicas } = this.#options;
    this.#bucket ??= await this.#connection.jetstream({ timeout: ttlMs / turns }).views.kv(bucket, {
      ttl: ttlMs,
      replicas,
      history: 1,
      storage: StorageType.File,
      description: "which node of a Whalesong cluster is its keeper",
    });
    return this.#bucket;
  }

  /** The bucket may be gone: made anew at the next turn. */
  #forgetBucket(error: unknown): void {
    const code = codeOf(error);
    if (code === noStream || (error instanceof NatsError && error.code === "503")) this.#bucket = undefined;
  }
}

function codeOf(error: unknown): number | undefined {
  return error instanceof NatsError ? error.api_error?.err_code : undefined;
}
