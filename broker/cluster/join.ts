/* Join: brings a data folder to where the cluster's log goes on, before a broker opens it.
 *
 *   look ── decide ──> found (under the lease) | load a snapshot ──> look again
 *            ├──────> enter: the folder can be opened
 *            ├──────> wait, and look again
 *            └──────> refuse: at once, or when it stays so
 *
 * NATS that is away is waited for. Several nodes that start at once on an empty NATS: one has the lease and founds, the
 * others find a snapshot. Each step leaves what the next look understands, so that one that ends in the midst, or another
 * node, goes on from there. */

import { rm } from "node:fs/promises";
import { join } from "node:path";

import type { NatsConnection } from "nats";

import type { Logger } from "../logger.ts";
import type { BrokerOptions } from "../options.ts";
import { FolderError, State, formatVersion, inspectStore, refuseFolderInUse } from "../state/index.ts";
import { pause } from "./connection.ts";
import { type Decision, type Holding, type Situation, decide } from "./decision.ts";
import { Lease } from "./lease.ts";
import { type ClusterNames, clusterNames } from "./names.ts";
import { ObjectError } from "./objects.ts";
import { type Snapshot, Snapshots } from "./snapshots.ts";
import { LogStream, type StreamLook, type StreamOptions } from "./stream.ts";

/** How soon to look again, in ms. */
const lookMs = 500;
/** How often to say what is waited for, in ms. */
const sayMs = 10_000;
/** For how long NATS must tell what may pass until that is believed, in ms. It finds a new leader within about 10 s. */
const beliefMs = 20_000;
/** How long a node that can do without waits for NATS, in ms. */
const patienceMs = 5_000;

export type JoinOptions = Pick<
  BrokerOptions,
  "data" | "node" | "cluster" | "clusterReplicas" | "clusterRetainAgeMs" | "clusterRetainBytes"
>;

export interface JoinParts {
  connecting: Promise<NatsConnection>;
  logger: Logger;
  /** Ends the waiting. */
  signal: AbortSignal;
  /** For how long NATS must tell what may pass until that is believed, in ms. @default 20,000 */
  beliefMs?: number;
}

interface JoiningParts extends JoinParts {
  connection: NatsConnection;
  /** It need not wait for what NATS says. */
  canEnter: boolean;
}

/**
 * Settles when the folder can be opened. NATS is waited for, but by a node that has entered before: while NATS is away, it
 * goes on with what it has, and the log is looked at when NATS is back.
 * @throws FolderError when this folder cannot be this cluster's, and says what to do
 */
export async function joinCluster(options: JoinOptions, parts: JoinParts): Promise<void> {
  await refuseFolderInUse(options.data);
  const holding = await holdingOf(options.data);
  const canEnter = holding.kind === "member" && holding.mark.seq > 0;
  const connection = await (canEnter
    ? Promise.race([parts.connecting, pause(patienceMs)])
    : parts.connecting);
  if (connection === undefined) {
    parts.logger.warn("NATS is away: this node begins with what it has, and takes no commands");
    return;
  }
  const joining = await Joining.of(options, { ...parts, connection, canEnter });
  try {
    await joining.run();
  } finally {
    await joining.close();
  }
}

class Joining {
  readonly #options: JoinOptions;
  readonly #names: ClusterNames;
  readonly #parts: JoiningParts;
  readonly #stream: LogStream;
  readonly #snapshots: Snapshots;
  /** Snapshots that turned out to be damaged. */
  readonly #damaged = new Set<string>();
  #lease: Lease | undefined;
  #saidAt = -Infinity;
  /** Since when, look by look, there is reason to refuse. */
  #refusedSince: number | undefined;

  static async of(options: JoinOptions, parts: JoiningParts): Promise<Joining> {
    const names = clusterNames(options.cluster);
    const stream = await LogStream.of(parts.connection, names);
    const { connection, logger } = parts;
    const snapshots = await Snapshots.of(connection, names, { replicas: options.clusterReplicas, logger });
    return new Joining(options, parts, { names, stream, snapshots });
  }

  private constructor(
    options: JoinOptions,
    parts: JoiningParts,
    { names, stream, snapshots }: { names: ClusterNames; stream: LogStream; snapshots: Snapshots },
  ) {
    this.#options = options;
    this.#parts = parts;
    this.#names = names;
    this.#stream = stream;
    this.#snapshots = snapshots;
  }

  async run(): Promise<void> {
    const { signal } = this.#parts;
    while (!(await this.#step())) await pause(lookMs, signal);
  }

  async close(): Promise<void> {
    await this.#lease?.close();
  }

  /** Whether the folder can be opened now. */
  async #step(): Promise<boolean> {
    const tenure = this.#lease?.tenure; // what is seen from here on is what the holder sees
    try {
      const decision = decide(await this.#look());
      return await this.#follow(decision, tenure);
    } catch (error) {
      if (error instanceof FolderError) throw error;
      this.#parts.signal.throwIfAborted();
      this.#say({ err: error }, "what NATS has of the cluster cannot be read yet");
      return this.#parts.canEnter;
    }
  }

  async #follow(decision: Decision, tenure: AbortSignal | undefined): Promise<boolean> {
    if (decision.do !== "refuse") this.#refusedSince = undefined;
    switch (decision.do) {
      case "enter":
        return true;
      case "refuse":
        if (decision.mayPass !== true || this.#isBelieved()) throw new FolderError(decision.why);
        this.#say({ why: decision.why }, "NATS is looked at again before this is believed");
        return false;
      case "wait":
        this.#say({}, decision.for);
        return false;
      case "load":
        await this.#load(decision.snapshots[0]!);
        return false;
      case "found":
        this.#lease ??= this.#seekLease();
        if (tenure !== undefined) await this.#found(tenure);
        return false;
    }
  }

  #isBelieved(): boolean {
    const now = performance.now();
    this.#refusedSince ??= now;
    return now - this.#refusedSince >= (this.#parts.beliefMs ?? beliefMs);
  }

  async #look(): Promise<Situation> {
    const { data } = this.#options;
    const holding = await holdingOf(data);
    const log = await this.#stream.look();
    const seq = holding.kind === "member" ? holding.mark.seq : 0;
    const storedAt = seq > 0 && log !== undefined ? await this.#stream.timeOf(seq) : undefined;
    const snapshots = log === undefined ? [] : await this.#usable(log);
    return { data, stream: this.#names.stream, holding, log, storedAt, snapshots };
  }

  async #usable(log: StreamLook): Promise<Snapshot[]> {
    const usable: Snapshot[] = [];
    for (const snapshot of await this.#snapshots.listOf(log.created)) {
      if (snapshot.format !== formatVersion || this.#damaged.has(snapshot.name)) continue;
      if (await isOf(this.#stream, snapshot)) usable.push(snapshot);
    }
    return usable;
  }

  /** One that is damaged is passed over from now on. */
  async #load(snapshot: Snapshot): Promise<void> {
    const { data } = this.#options;
    const { logger, signal } = this.#parts;
    try {
      await this.#snapshots.load(snapshot, data, signal);
    } catch (error) {
      if (error instanceof ObjectError) this.#damaged.add(snapshot.name);
      logger.warn({ err: error, snapshot: snapshot.name }, "a snapshot could not be loaded");
      if (!(error instanceof ObjectError)) throw error;
    }
  }

  #seekLease(): Lease {
    const { connection, logger } = this.#parts;
    const { node, clusterReplicas: replicas } = this.#options;
    return new Lease(connection, { bucket: this.#names.lease, node, replicas, logger });
  }

  async #found(tenure: AbortSignal): Promise<void> {
    const {
      clusterReplicas: replicas,
      clusterRetainAgeMs: retainAgeMs,
      clusterRetainBytes: retainBytes,
    } = this.#options;
    await beginCluster(
      { ...this.#options, stream: { replicas, retainAgeMs, retainBytes } },
      {
        log: this.#stream,
        snapshots: this.#snapshots,
        signal: AbortSignal.any([tenure, this.#parts.signal]),
      },
    );
    this.#parts.logger.info({ stream: this.#names.stream }, "this node has founded the cluster");
  }

  #say(fields: object, text: string): void {
    if (performance.now() - this.#saidAt < sayMs) return;
    this.#saidAt = performance.now();
    this.#parts.logger.warn({ ...fields, nats: this.#parts.connection.getServer() }, text);
  }
}

/** What the folder `data` holds. @throws FolderError when it is damaged */
export async function holdingOf(data: string): Promise<Holding> {
  const store = await inspectStore(data);
  if (store?.cluster !== undefined) {
    return { kind: "member", mark: store.cluster, epoch: store.epoch, offset: store.head };
  }
  // A store to which nothing ever happened is none: who began and did not go on.
  return { kind: store === undefined || store.head === 0 ? "nothing" : "lone" };
}

/** Whether a snapshot is of what the log holds now, and not of what it held before it was restored from an older copy. */
async function isOf(stream: LogStream, { seq, time }: Snapshot): Promise<boolean> {
  if (seq === 0) return true;
  const storedAt = await stream.timeOf(seq);
  return storedAt === undefined || storedAt === time;
}

export interface BeginOptions {
  data: string;
  node: string;
  stream: StreamOptions;
  /** The folder's history goes on in a new epoch: others of its cluster may have gone further in this one. */
  isNewEpoch?: boolean;
}

export interface BeginParts {
  log: LogStream;
  snapshots: Snapshots;
  signal: AbortSignal;
}

/** Makes the log, and what the folder holds its first snapshot. The caller has the lease. */
export async function beginCluster(
  { data, node, stream, isNewEpoch = false }: BeginOptions,
  { log, snapshots, signal }: BeginParts,
): Promise<Snapshot> {
  const outgoing = join(data, "outgoing");
  const state = await State.open(data, { isNewEpoch });
  try {
    const { created } = await log.create(stream);
    signal.throwIfAborted();
    await state.enterCluster({ created, seq: 0, time: 0, writers: {} });
    await rm(outgoing, { recursive: true, force: true });
    await state.copyTo(outgoing);
    return await snapshots.upload(outgoing, { node, signal });
  } finally {
    await rm(outgoing, { recursive: true, force: true });
    await state.close();
  }
}
