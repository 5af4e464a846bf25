/* ClusterLog: the log of a node of a cluster. All nodes share one JetStream stream, and each applies all of it, in order.
 *
 *   append ──> sender ──batch──> JetStream ──in order──> every node: State.commit ──committed──> answers, then the listener
 *
 *   connecting ──examined──> catching up ──at the head──> taking commands
 *        ^                        |                            |
 *        '-- NATS is away, the disk is full, or the log is not the one applied here so far
 *
 * What it keeps of the contract in log/log.ts is the same; "durable" means here: stored by JetStream, and committed here. The commit
 * need not be on this disk: what a power cut takes from it is read from the log again.
 *
 * The log is looked at every time reading it begins, and every two seconds. When it is another than the one applied so far (made anew,
 * restored from an older copy), this node applies no more and refuses commands with `epoch_mismatch`, rather than have a history of its own.
 * It goes on when the log it knows is back. Reading, and what is live, go on through all of this. */

import { WhalesongError } from "../../protocol/index.ts";
import type { Clock } from "../log/clock.ts";
import type { EntryListener, Log } from "../log/log.ts";
import { Reach } from "../log/reach.ts";
import type { Logger } from "../logger.ts";
import {
  type ClusterMark,
  type Command,
  type Entry,
  type Offset,
  type Outcome,
  type Stamped,
  type State,
} from "../state/index.ts";
import { Applier, type Received } from "./applier.ts";
import { type Batch, BatchError, decodeBatch } from "./batch.ts";
import { pause } from "./connection.ts";
import { failureOf, mismatch, unavailable } from "./refusals.ts";
import { Sender } from "./sender.ts";
import type { LogMessage, LogStream, StreamLook } from "./stream.ts";
import { timeOf } from "./times.ts";
import { type Verdict, judge, noted } from "./writers.ts";

/** How often the log is looked at, in ms, and how soon after a trouble. */
const lookMs = 2_000;
const troubleMs = 500;
/** For how long the log must seem to end before what is applied here until that is believed, in ms. NATS finds a new leader within about 10 s. */
const beliefMs = 20_000;
/** How often a reason whose figures change is told anew, in ms. */
const tellMs = 5_000;
/** How soon to look again while those who hear of entries are behind, in ms. */
const behindMs = 1;
/** A log that has been silent for so long is asked to confirm a batch of no commands, in ms; up to as long again by chance, so that
 *  one node's question serves all. Each node asks for itself when it has sent nothing for the second time. */
const silentMs = 2_500;
const unsentMs = 30_000;
/** A batch that came back within this shows what time it is by the clock of NATS, in ms: little beside what clocks may differ by. */
const promptMs = 30_000;

export interface ClusterLogOptions {
  listener: EntryListener;
  logger: Logger;
  clock: Pick<Clock, "stamp" | "doubt" | "look" | "witness">;
  /** As for the local log: see there. */
  fullness?: () => string | undefined;
  trouble?: () => string | undefined;
  isBehind?: () => boolean;
  /** The log no longer holds what this node has yet to apply: it must begin again from a snapshot. Told once. */
  onLost?: () => void;
  /** How long callers wait for an answer, in ms. @default 10,000 */
  answerMs?: number;
}

/** How this node stands to the log. */
export interface Standing {
  /** The sequence applied, and the last one the log had when it was looked at. */
  seq: number;
  lastSeq: number;
  firstSeq: number;
}

export class ClusterLog implements Log {
  readonly #state: State;
  readonly #options: ClusterLogOptions;
  readonly #sender: Sender;
  readonly #ended = new AbortController();
  readonly #reach = new Reach({ log: this, lagging: () => this.#refusal?.message });
  #stream: LogStream | undefined;
  #durable: Offset;
  #waiters: { offset: Offset; callback: () => void }[] = [];
  #refusal: WhalesongError | undefined = unavailable("this node has not reached the cluster's log yet");
  #isHalted = false;
  /** What was read cannot be written here at present. */
  #isFailing = false;
  #look: StreamLook | undefined;
  /** Since when, look by look, the log has ended before what is applied here. */
  #shortSince: number | undefined;
  #isLost = false;
  #toldAt = -Infinity;
  /** When a message of the log was last applied, as performance.now(), and after how long a silence to ask. */
  #heardAt = performance.now();
  #askAfterMs = 0; // at once when it begins: it does not know yet what time NATS has
  #isClosed = false;
  #running: Promise<void> | undefined;

  /** Of a State that has its mark in a log. */
  constructor(state: State, options: ClusterLogOptions) {
    this.#state = state;
    this.#options = options;
    this.#durable = state.applied();
    this.#sender = new Sender({
      publish: (batch) => this.#publish(batch),
      stamp: () => options.clock.stamp(),
      ...(options.answerMs === undefined ? {} : { answerMs: options.answerMs }),
    });
  }

  /** Begins to read and to write the log. */
  start(stream: LogStream): void {
    this.#stream = stream;
    this.#running = this.#run(stream);
  }

  get durable(): Offset {
    return this.#durable;
  }

  get pending(): number {
    return this.#sender.pending;
  }

  get refusal(): string | undefined {
    if (this.#isClosed) return "the broker is stopping";
    return (
      this.#options.trouble?.() ??
      this.#refusal?.message ??
      this.#options.clock.doubt ??
      this.#options.fullness?.()
    );
  }

  /** Whether it applies no more until someone does something: the log is another, or this node too old for it. */
  get isHalted(): boolean {
    return this.#isHalted;
  }

  get standing(): Standing {
    const { seq } = this.#mark;
    const { firstSeq = 1, lastSeq = seq } = this.#look ?? {};
    return { seq, firstSeq, lastSeq: Math.max(lastSeq, seq) };
  }

  append(command: Command): Promise<Outcome> {
    if (this.#isClosed)
      return Promise.reject(unavailable("the broker is stopping; try again elsewhere or later"));
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    const trouble = this.#options.trouble?.();
    if (trouble !== undefined) return Promise.reject(unavailable(trouble));
    const { doubt } = this.#options.clock;
    if (doubt !== undefined) return Promise.reject(unavailable(doubt));
    const full = command.op === "delete" || command.op === "trim" ? undefined : this.#options.fullness?.();
    if (full !== undefined) return Promise.reject(new WhalesongError("storage_full", full));
    return this.#sender.append(command);
  }

  whenDurable(offset: Offset, callback: () => void): void {
    if (offset <= this.#durable) callback();
    else this.#waiters.push({ offset, callback });
  }

  /** Nobody is answered before the listener is told. */
  current(): undefined {}

  reach(offset: Offset): Promise<void> | undefined {
    return this.#reach.to(offset);
  }

  get waitedMs(): number {
    return this.#sender.waitedMs;
  }

  /** Refuses what waits for too long, and finds out whether the log confirms what is sent when nothing is. Called every second or so. */
  async probe(): Promise<void> {
    this.#sender.check();
    if (this.#refusal !== undefined || this.#isClosed) return;
    const isSilent = performance.now() - this.#heardAt >= this.#askAfterMs;
    const isDue = this.#sender.idleMs >= (isSilent ? Math.min(silentMs, this.#askAfterMs) : unsentMs);
    // What comes back says what time NATS has: whether the clock is right after all.
    if (!isDue && this.#options.clock.look() === undefined) return;
    this.#askAfterMs = silentMs * (1 + Math.random());
    this.#sender.probe();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#refusal !== undefined) this.#sender.fail(this.#refusal);
    const checking = setInterval(() => this.#sender.check(), 200);
    await this.#sender.idle();
    clearInterval(checking);
    this.#ended.abort();
    this.#sender.hold();
    await this.#running;
  }

  get #mark(): ClusterMark {
    const { cluster } = this.#state.meta;
    if (cluster === undefined) throw new Error("the store is not of a cluster");
    return cluster;
  }

  async #publish(batch: Uint8Array): Promise<void> {
    const { seq: before } = this.#mark;
    const seq = await this.#stream!.publish(batch);
    // A log that gives out a sequence twice has lost what it gave it to before.
    if (seq <= before)
      this.#halt(mismatch(`it stored a batch at ${seq}, which this node has applied before`));
  }

  async #run(stream: LogStream): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      try {
        if (await this.#examine(stream, { thoroughly: true })) await this.#read(stream, signal);
        else await pause(lookMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#holdFor(error);
        await pause(error instanceof BatchError ? lookMs : troubleMs, signal).catch(() => {});
      }
    }
  }

  /** Whether the log is the one applied so far, and holds what comes next. `thoroughly` reads the message last applied, too. */
  async #examine(stream: LogStream, { thoroughly = false } = {}): Promise<boolean> {
    const look = await stream.look();
    if (look === undefined) {
      this.#hold(unavailable("the cluster's log is not there (JetStream has no such stream)"));
      return false;
    }
    const { seq, created } = this.#mark;
    this.#look = look;
    if (look.created !== created)
      return this.#differs(`it was made anew at ${look.created}, this node's at ${created}`);
    if (look.lastSeq < seq) return this.#isShort(look.lastSeq);
    this.#shortSince = undefined;
    if (thoroughly && seq >= look.firstSeq && !(await this.#hasLast(stream))) return false;
    if (look.firstSeq <= seq + 1) return true;
    this.#hold(
      unavailable(`the log begins at ${look.firstSeq}, this node has applied ${seq}: it needs a snapshot`),
    );
    if (!this.#isLost) this.#options.onLost?.();
    this.#isLost = true;
    return false;
  }

  /** Whether the message last applied is the one that the log has there. */
  async #hasLast(stream: LogStream): Promise<boolean> {
    const { seq, time } = this.#mark;
    const storedAt = await stream.timeOf(seq);
    if (storedAt === time) return true;
    if (storedAt !== undefined)
      return this.#differs(`its message ${seq} is not the one that this node has applied`);
    this.#hold(unavailable(`the cluster's log has removed message ${seq} just now; it is looked at again`));
    return false;
  }

  /** A server of NATS that leads the log no more, and does not know it yet, tells an older end for some seconds: an end is
   *  believed when it stays. */
  #isShort(lastSeq: number): false {
    const how = `it ends at ${lastSeq}, this node has applied ${this.#mark.seq}`;
    const now = performance.now();
    this.#shortSince ??= now;
    if (now - this.#shortSince >= beliefMs) return this.#differs(how);
    this.#hold(unavailable(`the cluster's log seems cut off: ${how}; NATS may be choosing its leader`));
    return false;
  }

  #differs(how: string): false {
    this.#halt(mismatch(how));
    return false;
  }

  /** Applies the log from where this node is, until something is wrong with it. */
  async #read(stream: LogStream, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return; // since it was looked at: nobody would tell the reader
    const stop = new AbortController();
    const onEnd = (): void => stop.abort();
    signal.addEventListener("abort", onEnd);
    let came = 0;
    let cameBefore = -1;
    const watch = setInterval(() => {
      const isSilent = came === cameBefore;
      cameBefore = came;
      void this.#watch(stream, stop, isSilent);
    }, lookMs);
    const applier = new Applier(
      async (received) => {
        await this.#apply(received, signal);
        this.#takeCommandsAtHead();
      },
      { isCatchingUp: () => this.#refusal !== undefined, onFailure: onEnd },
    );
    try {
      this.#takeCommandsAtHead();
      for await (const message of stream.read(this.#mark.seq + 1, stop.signal)) {
        came = message.seq;
        await applier.add({ ...message, batch: decodeOrSay(message) });
      }
    } finally {
      clearInterval(watch);
      signal.removeEventListener("abort", onEnd);
      stop.abort();
      await applier.settled();
    }
  }

  /** Ends the reading when the log is not right, or has more and nothing comes. */
  async #watch(stream: LogStream, stop: AbortController, isSilent: boolean): Promise<void> {
    try {
      const isRight = await this.#examine(stream);
      if (stop.signal.aborted) return;
      const { seq, lastSeq } = this.standing;
      if (!isRight || (isSilent && lastSeq > seq)) stop.abort();
      else this.#takeCommandsAtHead();
    } catch (error) {
      if (!stop.signal.aborted) this.#holdFor(error);
    }
  }

  async #apply(received: Received[], signal: AbortSignal): Promise<void> {
    while (this.#options.isBehind?.() === true) await pause(behindMs, signal);
    for (;;) {
      const { commands, mark, judged } = this.#plan(received);
      let outcomes: Outcome[];
      try {
        outcomes = await this.#state.commit(commands, mark).outcomes;
      } catch (error) {
        this.#isFailing = true;
        this.#hold(failureOf(error), error);
        await pause(lookMs / 2, signal);
        continue;
      }
      this.#isFailing = false;
      this.#settle(judged, outcomes);
      return;
    }
  }

  /** What of these batches counts, and where the log stands after them. Depends on nothing but the log. */
  #plan(received: Received[]): { commands: Stamped[]; mark: ClusterMark; judged: [Received, Verdict][] } {
    let { writers } = this.#mark;
    let { lastAt } = this.#state.meta;
    const commands: Stamped[] = [];
    const judged: [Received, Verdict][] = [];
    for (const one of received) {
      const { batch, seq, time } = one;
      const verdict = judge(writers, batch);
      judged.push([one, verdict]);
      if (verdict !== "counts") continue;
      writers = noted(writers, batch, seq);
      for (const command of batch.commands) {
        lastAt = timeOf(command.at, time / 1e6, lastAt);
        commands.push({ ...command, at: lastAt });
      }
    }
    const { seq, time } = received.at(-1)!;
    return { commands, mark: { created: this.#mark.created, seq, time, writers }, judged };
  }

  #settle(judged: [Received, Verdict][], outcomes: Outcome[]): void {
    this.#durable = outcomes.at(-1)?.offset ?? this.#durable;
    this.#heardAt = performance.now();
    const due = this.#waiters.filter((waiter) => waiter.offset <= this.#durable);
    if (due.length > 0) this.#waiters = this.#waiters.filter((waiter) => waiter.offset > this.#durable);
    for (const waiter of due) waiter.callback();
    let next = 0;
    for (const [{ batch, time }, verdict] of judged) {
      const its = verdict === "counts" ? outcomes.slice(next, (next += batch.commands.length)) : [];
      if (batch.writer !== this.#sender.writer) continue;
      if (verdict === "counts") this.#witness(this.#sender.applied(batch, its), time);
      else this.#sender.passedOver(batch, verdict);
    }
    if (outcomes.length === 0) return;
    const entries: Entry[] = [];
    for (const { entry } of outcomes) if (entry !== undefined) entries.push(entry);
    this.#options.listener(entries, this.#durable);
  }

  /** NATS stored a batch of this node at `time`, not long ago. */
  #witness(tookMs: number | undefined, time: number): void {
    if (tookMs !== undefined && tookMs < promptMs) this.#options.clock.witness(time / 1e6);
  }

  /** Once it has applied all that the log held when it was last looked at. */
  #takeCommandsAtHead(): void {
    if (this.#isFailing) return; // that it is behind, too, is no news
    const { seq, lastSeq } = this.standing;
    if (seq >= lastSeq) this.#release();
    else if (this.#refusal !== undefined)
      this.#hold(unavailable(`this node is catching up with the cluster's log: at ${seq} of ${lastSeq}`));
  }

  #release(): void {
    if (this.#refusal !== undefined) {
      const { seq } = this.#mark;
      this.#options.logger.info({ seq, head: this.#durable }, "at the head of the cluster's log");
    }
    this.#refusal = undefined;
    this.#isHalted = false;
    this.#sender.open();
  }

  #hold(refusal: WhalesongError, cause?: unknown): void {
    this.#tell("warn", refusal, cause);
    this.#refusal = refusal;
    this.#isHalted = false;
    this.#sender.hold();
  }

  /** Holds, and does not let anyone wait. */
  #halt(refusal: WhalesongError): void {
    this.#tell("error", refusal);
    this.#refusal = refusal;
    this.#isHalted = true;
    this.#sender.hold();
    this.#sender.fail(refusal);
  }

  #holdFor(error: unknown): void {
    this.#shortSince = undefined;
    if (error instanceof BatchError) this.#halt(unavailable(error.message));
    else this.#hold(unavailable(`the cluster's log cannot be reached: ${(error as Error).message}`), error);
  }

  /** Once for each reason, and while it catches up every few seconds. */
  #tell(level: "warn" | "error", refusal: WhalesongError, cause?: unknown): void {
    const reason = refusal.message;
    const isNews = this.#refusal === undefined || topicOf(this.#refusal.message) !== topicOf(reason);
    if (!isNews && (reason === this.#refusal?.message || performance.now() - this.#toldAt < tellMs)) return;
    this.#toldAt = performance.now();
    this.#options.logger[level](
      cause === undefined ? { reason } : { reason, err: cause },
      "commands are not taken",
    );
  }
}

/** What a reason is about, without its figures. */
function topicOf(reason: string): string {
  return reason.split(":", 1)[0]!;
}

function decodeOrSay(message: LogMessage): Batch {
  try {
    return decodeBatch(message.data);
  } catch (error) {
    if (error instanceof BatchError)
      throw new BatchError(`message ${message.seq} of the cluster's log cannot be applied: ${error.message}`);
    throw error;
  }
}
