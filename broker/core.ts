/* Core: the one writer of a broker. The folder, the state, the log, and all that is one for the whole broker: cursors,
 * users' rates, retention, how full the store is. Knows no client. */

import { Cluster } from "./cluster/cluster.ts";
import { ClusterLog } from "./cluster/log.ts";
import { SharedCursors } from "./cluster/shared-cursors.ts";
import { Clock } from "./log/clock.ts";
import { Fullness } from "./log/fullness.ts";
import { LocalLog } from "./log/local.ts";
import type { Log } from "./log/log.ts";
import { Retention } from "./log/retention.ts";
import type { Logger } from "./logger.ts";
import type { BrokerOptions } from "./options.ts";
import { Periodic } from "./periodic.ts";
import { Readiness, appendReason, cursorReason } from "./readiness.ts";
import { type Service, urlOf } from "./service.ts";
import {
  CursorKeeper,
  type KeptCursors,
  LocalIntake,
  Rates,
  type UserRates,
  cursorComplaints,
} from "./sessions/index.ts";
import { type Entry, FolderError, type Offset, State, type StoreReport } from "./state/index.ts";

/** How often what is due by the clock is looked at, in ms. */
const checkMs = 1_000;
/** How often it is noted what the clock said, in ms, for a broker that starts later. */
const noteMs = 60_000;
/** And how far the store had come. */
const noteHeadMs = 5_000;

/** Those who hear of entries: the front of a broker that stands alone, or its workers. */
export interface Audience {
  publish(entries: Entry[], durable: Offset): void;
  /** So far behind that no more should be committed for now. */
  readonly isBehind: boolean;
  /** All has been heard up to here: nothing after it may be trimmed. */
  readonly heard: Offset;
}

export interface CoreParts {
  logger: Logger;
  /** Asked for once there is something to tell. */
  audience: () => Audience;
  /** As a node of a cluster it was away for too long, and must begin again from a snapshot: stop it, and open another. Told once. */
  onLost: () => void;
  /** Ends the waiting for NATS. */
  signal?: AbortSignal | undefined;
}

interface Probed {
  /** Looks after what waits, and whether anything would be confirmed. Called every second or so. */
  probe(): Promise<void>;
  /** How long that has waited to be durable which waits longest, in ms; 0 when nothing does. */
  readonly waitedMs: number;
}

export class Core {
  readonly options: BrokerOptions;
  readonly logger: Logger;
  readonly state: State;
  readonly log: Log & Probed;
  /** As a node of a cluster: its log and cursors again, and all else of it. */
  readonly cluster:
    { readonly log: ClusterLog; readonly cursors: SharedCursors; readonly node: Cluster } | undefined;
  readonly cursors: KeptCursors;
  readonly rates: Rates;
  readonly intake: LocalIntake;
  readonly #clock: Clock;
  #notedAt = -Infinity;
  #notedHeadAt = -Infinity;
  readonly #fullness: Fullness;
  readonly #retention: Retention;
  readonly #periodic: Periodic;
  readonly #readiness = new Readiness();
  #life: string | undefined = "the broker is starting";
  /** What was wrong with its files when that was looked at last. */
  #trouble: string | undefined;

  /** As a node of a cluster that it has not entered yet, it waits for NATS. @throws FolderError, OptionsError */
  static async open(options: BrokerOptions, parts: CoreParts): Promise<Core> {
    const { logger, signal } = parts;
    const node = options.nats === undefined ? undefined : await Cluster.open(options, logger, signal);
    try {
      const state = await State.open(options.data, {
        isDurable: options.sync === "always",
        isNewEpoch: options.newEpoch,
        isSameEpoch: options.sameEpoch,
        examine: (store) => {
          if (node === undefined) refuseNodesFolder(options.data, store);
        },
      });
      for (const notice of state.notices) logger.warn(notice);
      if (options.newEpoch)
        logger.warn(
          `a new epoch, ${state.meta.epochs.at(-1)!.name}, begins as --new-epoch asks: cursors from before are refused with epoch_mismatch. Leave the flag out at the next start`,
        );
      if (options.acceptClock && node === undefined) await state.setTimeBack(Date.now());
      return new Core(state, options, { ...parts, node });
    } catch (error) {
      await node?.close();
      throw error;
    }
  }

  private constructor(
    state: State,
    options: BrokerOptions,
    { logger, audience, onLost, node }: CoreParts & { node: Cluster | undefined },
  ) {
    const { maxStoreBytes, minFreeBytes } = options;
    this.options = options;
    this.logger = logger;
    this.state = state;
    this.#periodic = new Periodic(logger);
    this.#fullness = new Fullness(state, options.data, {
      maxStoreBytes,
      minFreeBytes,
      onChange: (reason) => {
        if (reason === undefined) logger.info("there is room again: writes are taken");
        else logger.warn({ reason }, "writes are refused");
      },
    });
    this.#clock = new Clock({
      lastAt: () => state.meta.lastAt,
      record: state.clock,
      isAccepted: options.acceptClock,
      onChange: (doubt) => {
        if (doubt === undefined) logger.info("the clock is right: writes are taken");
        else logger.error({ reason: doubt }, "the clock is in doubt: writes are refused");
      },
    });
    const logOptions = {
      listener: (entries: Entry[], durable: Offset) => audience().publish(entries, durable),
      fullness: () => this.#fullness.reason,
      trouble: () => state.trouble,
      isBehind: () => audience().isBehind,
    };
    if (node === undefined) {
      this.log = new LocalLog(state, {
        ...logOptions,
        now: () => this.#clock.stamp(),
        timeDoubt: () => this.#clock.doubt,
        isDurable: options.sync === "always",
        onFailure: (error) => logger.error({ err: error }, "commit failed"),
      });
      this.cursors = new CursorKeeper(state, cursorComplaints(logger));
    } else {
      const clusterLog = new ClusterLog(state, { ...logOptions, clock: this.#clock, logger, onLost });
      this.log = clusterLog;
      const cursors = new SharedCursors(state, { node: options.node, logger });
      this.cluster = { log: clusterLog, cursors, node };
      this.cursors = cursors;
    }
    this.rates = new Rates(userRates(options), () => performance.now());
    this.intake = new LocalIntake(this.log, this.rates, state);
    const { log } = this;
    const trimmable = {
      append: log.append.bind(log),
      get durable(): Offset {
        return Math.min(log.durable, audience().heard);
      },
    };
    this.#readiness.set("life", () => this.#life);
    this.#readiness.set("files", () => state.trouble);
    this.#readiness.set("clock", () => this.#clock.look());
    this.#readiness.set("log", () => this.log.refusal);
    this.#readiness.set("append", () => appendReason(this.log.waitedMs));
    this.#readiness.set("cursors", () => cursorReason(this.cursors.unwrittenMs));
    const policy = { ageMs: options.retainAgeMs, count: options.retainCount };
    this.#retention = new Retention(state, trimmable, policy, () => this.#clock.forAges());
  }

  /** Looks how full the store is before anybody is let in. */
  check(): Promise<void> {
    return this.#fullness.check();
  }

  /** Begins to serve. */
  start(service: Pick<Service, "address" | "countSessions">): void {
    this.#life = undefined;
    this.cluster?.node.start({
      state: this.state,
      log: this.cluster.log,
      cursors: this.cluster.cursors,
      trim: () => this.#retention.run(),
      describe: async () => ({ url: urlOf(service.address), sessions: await service.countSessions() }),
    });
    this.#periodic.every(checkMs, async () => {
      this.#clock.look();
      const mayWrite = this.#lookAtFiles() === undefined;
      if (mayWrite) await this.#noteClock();
      if (mayWrite && this.cluster === undefined) await this.#noteHead();
      if (mayWrite) await this.#fullness.check();
      await this.log.probe();
      if (mayWrite && this.cluster === undefined) await this.#retention.run();
    });
  }

  /** Whether they are still those at the path; says when they begin not to be, and when they are again. */
  #lookAtFiles(): string | undefined {
    const { trouble } = this.state;
    if ((trouble === undefined) !== (this.#trouble === undefined)) {
      if (trouble === undefined)
        this.logger.info("the broker's files are at their path again: writes are taken");
      else
        this.logger.error(
          { reason: trouble, data: this.options.data },
          "the broker's files are not those at its path: writes are refused",
        );
    }
    this.#trouble = trouble;
    return trouble;
  }

  /** Why the broker does not serve at present; undefined when it does. */
  get readiness(): string | undefined {
    return this.#readiness.reason;
  }

  /** Says that it stops, and trims no more. What is asked meanwhile is still done. */
  stop(): void {
    this.#life = "the broker is stopping";
    this.#periodic.stop();
    this.#retention.stop();
  }

  /** Lets go, once the log is closed: writes the cursors, releases the folder. */
  async close(): Promise<void> {
    await this.cursors.close();
    await this.#noteClock(0);
    await this.cluster?.node.close();
    await this.state.close();
  }

  /** How far the store has come, for a broker that starts later: it knows a copy put back by it. */
  async #noteHead(): Promise<void> {
    if (performance.now() - this.#notedHeadAt < noteHeadMs) return;
    this.#notedHeadAt = performance.now();
    await this.state.noteHead(this.log.durable);
  }

  /** What the clock says, for a broker that starts later; not more often than each `everyMs`. */
  async #noteClock(everyMs = noteMs): Promise<void> {
    const record = this.#clock.record();
    if (record === undefined || performance.now() - this.#notedAt < everyMs) return;
    this.#notedAt = performance.now();
    await this.state.noteClock(record);
  }
}

function userRates(options: BrokerOptions): UserRates {
  return {
    commands: { perSecond: options.userRate, burst: options.userBurst },
    bytes: { perSecond: options.userBytes, burst: options.userBytesBurst },
    reads: { perSecond: options.userReadRate, burst: options.userReadBurst },
  };
}

/** On its own it would go another way than the cluster, and not find back. @throws FolderError */
function refuseNodesFolder(data: string, { cluster }: StoreReport): void {
  if (cluster === undefined) return;
  throw new FolderError(
    `data folder ${data}: it is a node's of a cluster; name the cluster's NATS servers with --nats, choose another folder with ` +
      `--data, or make it a lone broker's for good: whalesong cluster leave --data ${data}`,
  );
}
