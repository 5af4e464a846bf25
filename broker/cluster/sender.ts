/* Sender: this node's commands on their way into the log.
 *
 *   queue ──batch──> sent ──published──> stored ──seen in the log, applied──> answered
 *                     ^                    |
 *                     '----- sent again ---' when one was not stored, from that one on
 *
 * A lone command leaves at the end of its turn of the event loop; while four batches wait to be stored the queue gathers, so batches
 * grow with the load. Batches are numbered, and which of them count is decided by who reads the log (writers.ts): to send one twice
 * does no harm, and one that overtakes a lost one is passed over until both come again.
 *
 * A caller waits `answerMs` at most. Then it is told `unavailable`, and that nobody knows: its command may be in the log. Batches that
 * were never stored are given up with it, and what comes after them goes under a higher generation, so that a copy
 * of them which was held up somewhere does not count once a later command has.
 *
 * A command that cannot be packed is refused alone; the others of its batch are sent.
 *
 * Knows no NATS. */

import { randomBytes } from "node:crypto";

import { WhalesongError } from "../../protocol/index.ts";
import { weightOf } from "../log/weight.ts";
import type { Command, Outcome, Stamped } from "../state/index.ts";
import { type Batch, encodeBatch, faultOfCommand } from "./batch.ts";
import type { Verdict } from "./writers.ts";

/** Commands in one batch, and what they may weigh together, in bytes, about: a message of NATS holds 1 MiB by default. */
const maxBatch = 512;
const maxBatchBytes = 262_144;
/** Batches not yet stored before the queue gathers. */
const maxUnstored = 4;
/** Batches stored or not, and not yet applied here, before the queue gathers. */
const maxSent = 64;
/** Commands that wait to be sent, and what they may weigh together. */
const maxPending = 200_000;
const maxPendingBytes = 268_435_456;
/** After a batch was not stored: how soon they are sent again, at first and at most, in ms. */
const leastAgainMs = 100;
const mostAgainMs = 2_000;

interface Waiting {
  command: Command;
  bytes: number;
  /** When it was appended, ms of the sender's clock. */
  since: number;
  resolve: (outcome: Outcome) => void;
  reject: (error: unknown) => void;
}

interface Sent {
  generation: number;
  number: number;
  bytes: Uint8Array;
  /** Its commands' callers, in order; empty once they were told that nobody knows. */
  waiting: Waiting[];
  since: number;
  isStored: boolean;
}

export interface SenderOptions {
  /** Stores a batch in the log, and settles once it is. */
  publish: (batch: Uint8Array) => Promise<void>;
  /** How long a caller waits for its answer, in ms. @default 10,000 */
  answerMs?: number;
  /** The time for commands, in ms since the Unix epoch. @throws WhalesongError when it is not known: they are refused with it
   *  @default Date.now */
  stamp?: () => number;
  /** Time for waiting: ms since whenever, that only grows. @default performance.now */
  now?: () => number;
}

export class Sender {
  readonly writer = randomBytes(6).toString("base64url");
  readonly #options: SenderOptions;
  readonly #answerMs: number;
  readonly #now: () => number;
  #generation = 1;
  #number = 0;
  #queue: Waiting[] = [];
  #taken = 0;
  #pendingBytes = 0;
  #sent: Sent[] = [];
  #isOpen = false;
  #isScheduled = false;
  /** Set while something was not stored, until it is sent again. */
  #again: NodeJS.Timeout | undefined;
  #againMs = leastAgainMs;
  /** Counts the times that batches were sent again: a failure of an earlier time is not news. */
  #volley = 0;
  #idle: (() => void)[] = [];
  /** When the log last confirmed something, and since when what was given up after that had waited. */
  #confirmedAt: number;
  #givenUpSince: number | undefined;

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#answerMs = options.answerMs ?? 10_000;
    this.#now = options.now ?? ((): number => performance.now());
    this.#confirmedAt = this.#now();
  }

  /** Commands that are not answered yet. */
  get pending(): number {
    let count = this.#queue.length - this.#taken;
    for (const { waiting } of this.#sent) count += waiting.length;
    return count;
  }

  append(command: Command): Promise<Outcome> {
    if (this.#queue.length - this.#taken >= maxPending || this.#pendingBytes >= maxPendingBytes)
      return Promise.reject(
        new WhalesongError("unavailable", "too many commands wait for the cluster's log; try again"),
      );
    return new Promise((resolve, reject) => {
      const bytes = weightOf(command);
      this.#pendingBytes += bytes;
      this.#queue.push({ command, bytes, since: this.#now(), resolve, reject });
      this.#schedule();
    });
  }

  /** How long that has waited for the log which waits longest, in ms; 0 when nothing does. Giving it up ends its caller's waiting and
   *  not this: that the log confirms something does. */
  get waitedMs(): number {
    const oldest = this.#givenUpSince ?? this.#sent[0]?.since ?? this.#queue[this.#taken]?.since;
    return oldest === undefined ? 0 : this.#now() - oldest;
  }

  /** For how long nothing was confirmed and nothing waits, in ms; 0 while something waits. */
  get idleMs(): number {
    return this.#sent.length > 0 || this.#taken < this.#queue.length ? 0 : this.#now() - this.#confirmedAt;
  }

  /** Sends a batch of no commands, to find out whether the log would confirm one. It takes no offset. */
  probe(): void {
    if (this.#isOpen && this.idleMs > 0) this.#send([]);
  }

  /** The log can be reached: sends what waits, and again what may not have been stored. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#sendAgain();
  }

  /** The log cannot be reached: sends nothing. What waits goes on waiting. */
  hold(): void {
    this.#isOpen = false;
    clearTimeout(this.#again);
    this.#again = undefined;
  }

  /** A batch of this writer was seen in the log and counted. For how long it had waited, in ms; undefined when it was given up before. */
  applied({ generation, number }: Omit<Batch, "commands">, outcomes: Outcome[]): number | undefined {
    const [first] = this.#sent;
    if (first?.generation !== generation || first.number !== number) return undefined;
    this.#sent.shift();
    this.#confirmedAt = this.#now();
    this.#givenUpSince = undefined;
    for (let i = 0; i < first.waiting.length; i++) first.waiting[i]!.resolve(outcomes[i]!);
    this.#schedule();
    this.#noteIdle();
    return this.#confirmedAt - first.since;
  }

  /** A batch of this writer was seen in the log and did not count. */
  passedOver({ generation, number }: Omit<Batch, "commands">, verdict: Verdict): void {
    const passed = this.#sent.findIndex((sent) => sent.generation === generation && sent.number === number);
    if (passed < 0 || verdict === "again") return;
    if (verdict === "gap" || passed > 0) {
      // One before it was missing. That one may have come since, and then nothing but this brings back those after it.
      this.#sent[passed]!.isStored = false;
      this.#sendAgainSoon();
      return;
    }
    // This writer was silent for so long that it was forgotten. No copy of what it sent under these numbers ever counts.
    const kept = this.#sent.filter(({ waiting }) => waiting.length > 0);
    this.#sent = [];
    this.#beginGeneration();
    for (const { waiting } of kept) this.#send(waiting);
    this.#noteIdle();
  }

  /** Refuses all that waits. */
  fail(error: unknown): void {
    const queue = this.#queue.slice(this.#taken);
    this.#queue = [];
    this.#taken = 0;
    this.#pendingBytes = 0;
    for (const waiting of queue) waiting.reject(error);
    this.#giveUpFrom(0, error);
    this.#givenUpSince = undefined; // whoever refuses says why
    this.#noteIdle();
  }

  /** Refuses what waits for too long. Called every second or so. */
  check(): void {
    const due = this.#now() - this.#answerMs;
    const unknown = new WhalesongError(
      "unavailable",
      `the cluster's log did not confirm this within ${this.#answerMs} ms; it may have been stored: with a key it is safe to publish again`,
    );
    const first = this.#sent.findIndex(({ isStored }) => !isStored);
    if (first >= 0 && this.#sent[first]!.since <= due) this.#giveUpFrom(first, unknown);
    for (const sent of this.#sent) {
      if (sent.since > due) continue;
      for (const waiting of sent.waiting) waiting.reject(unknown);
      sent.waiting = [];
    }
    while (this.#queue[this.#taken] !== undefined && this.#queue[this.#taken]!.since <= due) {
      const [waiting] = this.#take(1);
      waiting!.reject(
        new WhalesongError(
          "unavailable",
          "the cluster's log cannot be reached; nothing was changed, try again",
        ),
      );
    }
    this.#noteIdle();
  }

  /** Settles when nothing waits. */
  async idle(): Promise<void> {
    if (this.#isIdle()) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #isIdle(): boolean {
    return this.pending === 0;
  }

  #noteIdle(): void {
    if (this.#idle.length > 0 && this.#isIdle()) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #beginGeneration(): void {
    this.#generation++;
    this.#number = 0;
    this.#volley++;
  }

  #giveUpFrom(first: number, error: unknown): void {
    const given = this.#sent.splice(first);
    for (const { waiting } of given) for (const { reject } of waiting) reject(error);
    this.#givenUpSince ??= given[0]?.since;
    if (given.length > 0) this.#beginGeneration();
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || !this.#maySend()) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      while (this.#maySend()) this.#send(this.#take(maxBatch));
    });
  }

  #maySend(): boolean {
    if (!this.#isOpen || this.#again !== undefined || this.#taken === this.#queue.length) return false;
    if (this.#sent.length >= maxSent) return false;
    let unstored = 0;
    for (const { isStored } of this.#sent) if (!isStored) unstored++;
    return unstored < maxUnstored;
  }

  /** The oldest that wait, `most` at most, and not more than one message should hold. */
  #take(most: number): Waiting[] {
    const taken: Waiting[] = [];
    let bytes = 0;
    while (taken.length < most && bytes < maxBatchBytes && this.#taken < this.#queue.length) {
      const waiting = this.#queue[this.#taken++]!;
      bytes += waiting.bytes;
      taken.push(waiting);
    }
    this.#pendingBytes -= bytes;
    if (this.#taken === this.#queue.length || this.#taken > 16_384) {
      this.#queue = this.#queue.slice(this.#taken);
      this.#taken = 0;
    }
    return taken;
  }

  #send(waiting: Waiting[]): void {
    let at: number;
    try {
      at = waiting.length === 0 ? 0 : (this.#options.stamp ?? Date.now)();
    } catch (error) {
      for (const { reject } of waiting) reject(error);
      return;
    }
    const commands = waiting.map(({ command }): Stamped => Object.assign(command, { at }));
    const [generation, number] = [this.#generation, this.#number + 1];
    let bytes: Uint8Array;
    try {
      bytes = encodeBatch({ writer: this.writer, generation, number, commands });
    } catch (error) {
      this.#sendOthers(waiting, commands, error);
      return;
    }
    this.#number = number;
    const since = waiting[0]?.since ?? this.#now();
    const sent: Sent = { generation, number, bytes, waiting, since, isStored: false };
    this.#sent.push(sent);
    this.#publish(sent);
  }

  /** Some of a batch cannot be packed: refuses them, and sends the others. */
  #sendOthers(waiting: Waiting[], commands: Stamped[], cause: unknown): void {
    const others: Waiting[] = [];
    for (let i = 0; i < waiting.length; i++) {
      const fault = faultOfCommand(commands[i]!);
      if (fault === undefined) others.push(waiting[i]!);
      else waiting[i]!.reject(fault.error);
    }
    if (others.length === waiting.length) for (const { reject } of others) reject(cause);
    else if (others.length > 0) this.#send(others);
    this.#noteIdle();
  }

  #publish(sent: Sent): void {
    const volley = this.#volley;
    this.#options.publish(sent.bytes).then(
      () => {
        if (volley !== this.#volley) return; // it was sent again since: this copy may have been passed over
        sent.isStored = true;
        this.#againMs = leastAgainMs;
        this.#schedule();
      },
      () => {
        if (volley === this.#volley && this.#sent.includes(sent)) this.#sendAgainSoon();
      },
    );
  }

  #sendAgainSoon(): void {
    if (!this.#isOpen || this.#again !== undefined) return; // once it can be reached, all is sent again
    this.#again = setTimeout(() => this.#sendAgain(), this.#againMs);
    this.#againMs = Math.min(2 * this.#againMs, mostAgainMs);
  }

  /** Those after one that was not stored were passed over, though they were: all from there on go again. */
  #sendAgain(): void {
    clearTimeout(this.#again);
    this.#again = undefined;
    this.#volley++;
    const first = this.#sent.findIndex(({ isStored }) => !isStored);
    if (first >= 0) {
      for (const sent of this.#sent.slice(first)) {
        sent.isStored = false;
        this.#publish(sent);
      }
    }
    this.#schedule();
  }
}
