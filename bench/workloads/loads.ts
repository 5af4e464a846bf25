/* Loads: the load processes of a workload, as one: readers shared out among them, one that publishes to them.
 *
 *     Loads ─┬─ load process 0   readers 0 … n/k, publishers       told which messages are complete
 *            ├─ load process 1   readers n/k … 2n/k   ──tells──┘
 *            └─ …
 *
 * As many as the load has cores, and as many as the open files that a process may have ask for. */

import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import type { Child } from "../children.ts";
import { openFileLimit } from "../machine.ts";
import type { Spent } from "../measure.ts";
import type { Follows, Tally } from "../load/crowd.ts";
import type { DialectRef, ReaderRequest } from "../load/dialect.ts";
import type { LoadHandlers, Sample } from "../load/load-process.ts";
import type { Pace } from "../load/publishing.ts";
import { makeFiller } from "../load/stamp.ts";
import { proseFillers } from "../load/prose.ts";
import type { Run } from "../run.ts";
import { splitFollows } from "./follows.ts";
import { type Interval, type Outcome, OutcomeBuilder, type Totals, totalsOf } from "./outcome.ts";

export interface LoadsOptions {
  run: Run;
  dialect: DialectRef;
  /** Load processes; as many as it takes by default. */
  processes?: number | undefined;
  follows: Follows;
  topicCount: number;
  /** The topic of each message in turn: `schedule[sequence % schedule.length]`. */
  schedule: Uint32Array;
  payloadBytes: number;
  /** What texts begin with behind the stamp, one after the other, before they are filled up. @default nothing */
  heads?: readonly string[];
  stream?: ReaderRequest["stream"];
  /** Whose sessions all readers are; each its own by default. */
  user?: number;
  /** Connections that publish. @default 1 */
  publishers?: number;
  /** Every process publishes, so many connections in all; for what has no readers. */
  allPublish?: boolean;
  /** Every so-manieth reader can be made slow. */
  slowEvery?: number;
}

export interface Watching {
  /** Between two samples, in ms. */
  everyMs: number;
  /** Told each interval's figures. */
  onInterval: (interval: Interval) => void;
  /** The target's memory now, for the series. */
  rssBytes?: (() => number | undefined) | undefined;
}

/** Files that a load process has open beside its sockets. */
const otherFiles = 256;
const mostByDefault = 4;
/** No message for so long: some are missing. */
const stallMs = 30_000;
const drainPollMs = 5;
/** Nothing comes any more for so long, and someone lacks something: it is missing. Less will not do: the kernel asks a reader whose
 *  buffer was full for some time whether there is room again at intervals that double. */
const settleMs = 60_000;
const settlePollMs = 100;
type LoadProcess = Child<LoadHandlers>;

export class Loads {
  readonly readers: number;
  readonly #options: LoadsOptions;
  readonly #children: LoadProcess[];
  #audience: Uint32Array = new Uint32Array();

  private constructor(options: LoadsOptions, children: LoadProcess[]) {
    this.#options = options;
    this.#children = children;
    this.readers = options.follows.offsets.length - 1;
  }

  /** Starts the processes; nobody connects yet. */
  static async start(options: LoadsOptions): Promise<Loads> {
    const { run, follows, dialect, topicCount, schedule, payloadBytes, stream, user, slowEvery } = options;
    const readers = follows.offsets.length - 1;
    const sockets = readers + (options.publishers ?? 1);
    const count = options.processes ?? processesFor(sockets, run.pinning?.load.length);
    const children = Array.from({ length: count }, () => run.startLoad<LoadHandlers>("load-process"));
    const loads = new Loads(options, children);
    const shares = splitFollows(follows, count);
    await Promise.all(
      children.map((child, i) =>
        child.ask("configure", {
          dialect,
          follows: shares[i]!,
          topicCount,
          schedule,
          payloadBytes,
          stream,
          user,
          slowEvery,
          readers,
        }),
      ),
    );
    return loads;
  }

  get processes(): number {
    return this.#children.length;
  }

  /** How many follows there are. */
  get follows(): number {
    return this.#options.follows.topics.length;
  }

  /** Makes all follows of the readers. */
  async prepare(onProgress: (done: number) => void): Promise<void> {
    await this.#all("prepare", undefined, onProgress);
  }

  /** Makes follows of others, who are not here. */
  async prepareOthers(follows: Follows, onProgress: (done: number) => void): Promise<void> {
    await this.#children[0]!.ask("prepare", follows, onProgress);
  }

  /** Publishes so many, whoever is there to get them. */
  async publishAway(posts: number, onProgress: (done: number) => void): Promise<void> {
    await this.#children[0]!.ask("publishAway", { posts }, onProgress);
  }

  /** Connects all readers. Answers what each process spent on it. */
  open(from: "live" | "resume", onProgress: (done: number) => void): Promise<Spent[]> {
    return this.#all("open", { from }, onProgress);
  }

  /** Drops readers and connects them anew, one after the other; answers how many. */
  async churn(perSecond: number, seconds: number): Promise<number> {
    const each = { perSecond: perSecond / this.#children.length, seconds };
    return (await this.#all("churn", each)).reduce((sum, count) => sum + count, 0);
  }

  async drop(): Promise<void> {
    await this.#all("drop", undefined);
  }

  /** Those that can be slow read so many bytes a second, or as they come. */
  async setSlow(bytesPerSecond: number | undefined): Promise<void> {
    await this.#all("setSlow", { bytesPerSecond });
  }

  /** Connects who publishes. */
  async openPublishers(): Promise<void> {
    const {
      payloadBytes,
      heads = [""],
      publishers = 1,
      allPublish = false,
      topicCount,
      dialect,
    } = this.#options;
    const audiences = await this.#all("audience", undefined);
    const quick = sumOf(await this.#all("quickAudience", undefined), topicCount);
    this.#audience = sumOf(audiences, topicCount);
    const crowds = sumOf(
      audiences.map((audience) => audience.map((count) => Math.min(1, count))),
      topicCount,
    );
    const publishing = allPublish ? this.#children : this.#children.slice(0, 1);
    const fillers = fillersOf(payloadBytes, heads, dialect.texts);
    const ports = await Promise.all(
      publishing.map((child, i) => {
        const firstConnection = Math.floor((publishers * i) / publishing.length);
        const connections = Math.floor((publishers * (i + 1)) / publishing.length) - firstConnection;
        return child.ask("publishers", {
          connections: Math.max(1, connections),
          firstConnection,
          fillers,
          audience: quick,
          crowds,
        });
      }),
    );
    if (allPublish) return;
    const [port] = ports;
    await Promise.all(this.#children.slice(1).map((child) => child.ask("tellCompletions", { port: port! })));
  }

  /** Readers of each topic. */
  get audience(): Uint32Array {
    return this.#audience;
  }

  /** Publishes at a pace until its time is over and all that was published has arrived at all readers that are not slow. */
  async run(pace: Pace, watching?: Watching): Promise<Outcome> {
    const first = await this.#totals(); // what came before is not counted
    const outcome = new OutcomeBuilder(first, this.#options.run.pinning?.load.length);
    const startMs = performance.now();
    const state = { isOver: false };
    const publishing = this.#options.allPublish === true ? this.#children : this.#children.slice(0, 1);
    const running = Promise.all(publishing.map((child) => child.ask("run", pace))).finally(() => {
      state.isOver = true;
    });
    running.catch(() => {}); // thrown below
    let last = first;
    let changedMs = startMs;
    const look = async (): Promise<void> => {
      const samples = await this.#sample();
      const totals = totalsOf(samples);
      if (totals.quick !== last.quick || totals.answered !== last.answered) changedMs = performance.now();
      const atSeconds = (performance.now() - startMs) / 1_000;
      const interval = outcome.add(samples, { atSeconds, totals, rssBytes: watching?.rssBytes?.() });
      last = totals;
      if (interval !== undefined) watching?.onInterval(interval);
      if (performance.now() - changedMs > stallMs) throw new Error(stalled(totals));
    };
    const everyMs = watching?.everyMs ?? 1_000;
    while (!state.isOver) {
      await Promise.race([sleep(everyMs, undefined, { signal: this.#options.run.signal }), running]);
      if (!state.isOver) await look();
    }
    await running;
    let endMs = performance.now();
    // Answers of all that was published, or its arrival.
    await look();
    while (last.quick < last.expected) {
      await sleep(drainPollMs);
      endMs = performance.now();
      await look();
    }
    return outcome.build((endMs - startMs) / 1_000);
  }

  /** Waits until each reader, slow ones too, has got what it should have. @throws that one has not */
  async check(): Promise<void> {
    const publishers = this.#options.allPublish === true ? this.#children : this.#children.slice(0, 1);
    const tallies = await Promise.all(publishers.map((child) => child.ask("published", undefined)));
    const published = tallies.find((tally): tally is Tally => tally !== undefined);
    if (published === undefined || this.#options.allPublish === true) return;
    for (let stillMs = 0, before = -1; ;) {
      const faults = await this.#all("check", published);
      const faulty = faults.reduce((sum, { readers }) => sum + readers, 0);
      if (faulty === 0) return;
      const { messages } = await this.#totals();
      if (messages !== before) stillMs = 0;
      before = messages;
      if (stillMs >= settleMs) {
        const first = faults.find((each) => each.first !== undefined)?.first;
        throw new Error(`${faulty} readers did not get each message once: ${first}`);
      }
      await sleep(settlePollMs);
      stillMs += settlePollMs;
    }
  }

  async close(): Promise<void> {
    await this.#all("close", undefined);
    await Promise.all(this.#children.map((child) => child.end()));
  }

  #sample(): Promise<Sample[]> {
    return this.#all("sample", undefined);
  }

  async #totals(): Promise<Totals> {
    return totalsOf(await this.#sample());
  }

  /** Asks all processes the same; `onProgress` is told the sum of theirs. */
  async #all<K extends keyof LoadHandlers>(
    name: K,
    argument: Parameters<LoadHandlers[K]>[0],
    onProgress?: (done: number) => void,
  ): Promise<Awaited<ReturnType<LoadHandlers[K]>>[]> {
    const done = this.#children.map(() => 0);
    return await Promise.all(
      this.#children.map((child, i) =>
        child.ask(
          name,
          argument,
          onProgress &&
            ((now) => {
              done[i] = now;
              onProgress(done.reduce((sum, each) => sum + each, 0));
            }),
        ),
      ),
    );
  }
}

function sumOf(arrays: readonly Uint32Array[], length: number): Uint32Array {
  const sum = new Uint32Array(length);
  for (const array of arrays) for (let i = 0; i < length; i++) sum[i]! += array[i]!;
  return sum;
}

function fillersOf(payloadBytes: number, heads: readonly string[], texts: DialectRef["texts"]): string[] {
  if (texts === "prose") return proseFillers(payloadBytes, heads);
  return heads.map((head) => makeFiller(payloadBytes, head));
}

/** So many that neither cores nor open files limit. */
function processesFor(sockets: number, loadCores = availableParallelism() - 1): number {
  const byFiles = Math.ceil(sockets / Math.max(1, openFileLimit() - otherFiles));
  return Math.max(1, byFiles, Math.min(mostByDefault, loadCores));
}

function stalled({ quick, expected, published, answered }: Totals): string {
  return `nothing has come for ${stallMs / 1_000} s: of ${expected} deliveries ${quick} arrived, of ${published} publishes ${answered} were answered`;
}
