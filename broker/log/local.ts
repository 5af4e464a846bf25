/* LocalLog: the log of a broker that stands alone. LMDB itself is the log.
 *
 *   queue ──batch──> State.commit ──committed──> flushing ──flushed──> answers, then the listener
 *
 * Group commit: while one batch commits, the queue gathers the next; batches grow by themselves as load grows, and a lone
 * command leaves at once. Commits are in turn; a batch may commit while the one before is still being flushed, so that
 * the disk's latency bounds the delay of an answer but not the throughput.
 *
 * The queue is bounded: past `maxPending` commands, or `maxPendingBytes` of them, `append` refuses with a retryable
 * `unavailable`. Sessions stop reading their socket well before that (`limits.inFlight`), so a publisher that outruns the
 * disk is held back, not refused.
 *
 * A command that fails by a fault of ours, not one that `apply` refuses, takes its whole transaction with it. Where the store
 * can still be written, halves of the batch find which it was: it alone is refused, as `internal`, and the others are applied. */

import { WhalesongError } from "../../protocol/index.ts";
import {
  type Command,
  type Entry,
  type Offset,
  type Outcome,
  type Stamped,
  type State,
  isForWantOfRoom,
} from "../state/index.ts";
import type { EntryListener, Log } from "./log.ts";
import { weightOf } from "./weight.ts";

/** Commands in one transaction: few enough to keep the event loop free (about 10 ms), many enough to share one fsync. */
const maxBatch = 512;
/** Commands that wait for their turn. */
const maxPending = 200_000;
/** What they may hold together, in bytes, about. */
const maxPendingBytes = 268_435_456;
/** How soon to look again while those who hear of entries are behind, in ms. */
const behindMs = 1;
/** Batches committed and not yet flushed. */
const maxFlushing = 4;
/** After how long without a command the store is written all the same, in ms, to find out whether it still can be. */
const idleMs = 5_000;

interface Waiting {
  command: Command;
  bytes: number;
  /** When it was appended, as performance.now(). */
  since: number;
  resolve: (outcome: Outcome) => void;
  reject: (error: unknown) => void;
}

export interface LocalLogOptions {
  listener: EntryListener;
  /** The time for commands, in ms since the Unix epoch. @throws WhalesongError when it is not known: commands are refused with it
   *  @default Date.now */
  now?: () => number;
  /** Why the time is not known. @default it is */
  timeDoubt?: () => string | undefined;
  /** Answer and deliver after the flush, or already after the commit. @default true */
  isDurable?: boolean;
  /** Is the store at its configured size, or the disk nearly full? Then says so; commands but deletes and trims are refused. */
  fullness?: () => string | undefined;
  /** Would what is written be lost (the files are not those at their path)? Then says so; no command is taken. */
  trouble?: () => string | undefined;
  /** Are those who hear of entries so far behind that no more should be committed for now? Asked before each batch. */
  isBehind?: () => boolean;
  /** Bytes of commands that may wait, about. @default 268,435,456 */
  maxPendingBytes?: number;
  /** Hears of every failure to commit. */
  onFailure?: (error: unknown) => void;
}

export class LocalLog implements Log {
  readonly #state: State;
  readonly #options: LocalLogOptions;
  #queue: Waiting[] = [];
  #taken = 0;
  #pendingBytes = 0;
  #committing = false;
  #flushing = 0;
  /** Since when the batches under way have waited, as performance.now(), the oldest first. */
  readonly #underWay = new Set<{ since: number }>();
  #confirmedAt = performance.now();
  #durable: Offset;
  #waiters: { offset: Offset; callback: () => void }[] = [];
  #failure: string | undefined;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(state: State, options: LocalLogOptions) {
    this.#state = state;
    this.#options = options;
    this.#durable = state.applied();
  }

  get durable(): Offset {
    return this.#durable;
  }

  get pending(): number {
    return this.#queue.length - this.#taken;
  }

  get waitedMs(): number {
    for (const { since } of this.#underWay) return performance.now() - since;
    const next = this.#queue[this.#taken];
    return next === undefined ? 0 : performance.now() - next.since;
  }

  get refusal(): string | undefined {
    if (this.#closed) return "the broker is stopping";
    return (
      this.#options.trouble?.() ?? this.#failure ?? this.#options.timeDoubt?.() ?? this.#options.fullness?.()
    );
  }

  append(command: Command): Promise<Outcome> {
    if (this.#closed)
      return Promise.reject(
        new WhalesongError("unavailable", "the broker is stopping; try again elsewhere or later"),
      );
    const trouble = this.#options.trouble?.();
    if (trouble !== undefined) return Promise.reject(new WhalesongError("unavailable", trouble));
    if (this.pending >= maxPending) {
      return Promise.reject(
        new WhalesongError("unavailable", `over ${maxPending} commands wait for the disk; try again`),
      );
    }
    const most = this.#options.maxPendingBytes ?? maxPendingBytes;
    if (this.#pendingBytes >= most) {
      return Promise.reject(
        new WhalesongError("unavailable", `commands of over ${most} bytes wait for the disk; try again`),
      );
    }
    const doubt = this.#options.timeDoubt?.();
    if (doubt !== undefined) return Promise.reject(new WhalesongError("unavailable", doubt));
    const full = command.op === "delete" || command.op === "trim" ? undefined : this.#options.fullness?.();
    if (full !== undefined) return Promise.reject(new WhalesongError("storage_full", full));
    return new Promise((resolve, reject) => {
      const bytes = weightOf(command);
      this.#pendingBytes += bytes;
      this.#queue.push({ command, bytes, since: performance.now(), resolve, reject });
      this.#startBatchIfFree();
    });
  }

  whenDurable(offset: Offset, callback: () => void): void {
    if (offset <= this.#durable) callback();
    else this.#waiters.push({ offset, callback });
  }

  /** Nobody is answered before the listener is told. */
  current(): undefined {}

  /** Nobody else writes this log. */
  reach(_offset: Offset): undefined {}

  /** Finds out whether the store can be written when nobody asks for anything: after a failure to commit, since a broker that is
   *  not ready may be sent nothing, and while it is idle. By a transaction that changes nothing. Called every second or so. */
  async probe(): Promise<void> {
    if (this.#closed || !this.#isIdle()) return;
    if (this.#failure === undefined && performance.now() - this.#confirmedAt < idleMs) return;
    this.#committing = true;
    await this.#runBatch();
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#isIdle()) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #isIdle(): boolean {
    return this.pending === 0 && !this.#committing && this.#flushing === 0;
  }

  /** Starts the next batch at the end of this turn of the event loop, so that one tick's commands share it. */
  #startBatchIfFree(): void {
    if (this.pending === 0 || this.#committing || this.#flushing >= maxFlushing) return;
    this.#committing = true;
    setImmediate(() => this.#runBatchInTurn());
  }

  /** A publisher that outruns fan-out is held back here: its sessions stop reading once enough of theirs wait. */
  #runBatchInTurn(): void {
    if (this.#options.isBehind?.() === true) setTimeout(() => this.#runBatchInTurn(), behindMs);
    else void this.#runBatch();
  }

  async #runBatch(): Promise<void> {
    const batch = this.#take();
    const underWay = { since: batch[0]?.since ?? performance.now() };
    this.#underWay.add(underWay);
    this.#flushing++;
    const trouble = this.#options.trouble?.();
    if (trouble !== undefined) {
      for (const { reject } of batch) reject(new WhalesongError("unavailable", trouble));
      this.#next();
      this.#flushed();
      return;
    }
    const failed = await this.#apply(batch, () => this.#next());
    if (failed !== undefined) {
      await this.#applyApart(batch, failed.error); // in the batch's turn: what was sent after it waits
      this.#next();
    }
    this.#underWay.delete(underWay);
    this.#flushed();
  }

  /** Commits `batch`, and settles it once it is on disk. Answers why when nothing of it was applied; then it is not settled. */
  async #apply(batch: Waiting[], onCommitted = (): void => {}): Promise<{ error: unknown } | undefined> {
    let now: number;
    try {
      now = batch.length === 0 ? 0 : (this.#options.now ?? Date.now)();
    } catch (error) {
      for (const { reject } of batch) reject(error);
      onCommitted();
      return undefined;
    }
    const at = Math.max(now, this.#state.meta.lastAt);
    const commands = batch.map(({ command }): Stamped => Object.assign(command, { at }));
    const { outcomes, flushed } = this.#state.commit(commands);
    let results: Outcome[];
    try {
      results = await outcomes;
    } catch (error) {
      return { error };
    }
    onCommitted();
    // Rejecting here ends the process, and is meant to: what is committed and cannot be brought to disk is neither there
    // nor undone, and only a restart can tell what became of it.
    if (this.#options.isDurable ?? true) await flushed;
    this.#failure = undefined;
    this.#confirmedAt = performance.now();
    this.#settle(batch, results);
    return undefined;
  }

  /** After a batch failed. Where the store takes a command that changes nothing, a command of the batch is what it fails by. */
  async #applyApart(batch: Waiting[], error: unknown): Promise<void> {
    if (isForWantOfRoom(error) || (await this.#apply([])) !== undefined) {
      this.#fail(batch, error);
      return;
    }
    if (batch.length < 2) {
      this.#options.onFailure?.(error);
      batch[0]?.reject(faultOf(error));
      return;
    }
    const middle = batch.length >> 1;
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
      const failed = await this.#apply(half);
      if (failed !== undefined) await this.#applyApart(half, failed.error);
    }
  }

  #take(): Waiting[] {
    const batch = this.#queue.slice(this.#taken, this.#taken + maxBatch);
    this.#taken += batch.length;
    for (const { bytes } of batch) this.#pendingBytes -= bytes;
    if (this.#taken === this.#queue.length) {
      this.#queue = [];
      this.#taken = 0;
    } else if (this.#taken > 16_384) {
      this.#queue = this.#queue.slice(this.#taken);
      this.#taken = 0;
    }
    return batch;
  }

  #next(): void {
    this.#committing = false;
    this.#startBatchIfFree();
  }

  #flushed(): void {
    this.#flushing--;
    this.#startBatchIfFree();
    if (this.#isIdle()) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Nothing of the batch was applied. Room may come back; anything else is a fault of ours, and is not called a full disk. */
  #fail(batch: Waiting[], error: unknown): void {
    this.#options.onFailure?.(error);
    const failure = isForWantOfRoom(error)
      ? new WhalesongError(
          "storage_full",
          `the store could not be written (${(error as Error).message}); nothing was changed, try again`,
          {},
          { cause: error },
        )
      : faultOf(error);
    this.#failure = failure.message;
    for (const waiting of batch) waiting.reject(failure);
  }

  /** Flushes settle in the order of their commits, so `durable` only grows. */
  #settle(batch: Waiting[], outcomes: Outcome[]): void {
    const last = outcomes.at(-1);
    if (last === undefined) return;
    this.#durable = last.offset;
    this.#releaseWaiters();
    for (let i = 0; i < batch.length; i++) batch[i]!.resolve(outcomes[i]!);
    const entries: Entry[] = [];
    for (const outcome of outcomes) if (outcome.entry !== undefined) entries.push(outcome.entry);
    this.#options.listener(entries, this.#durable);
  }

  #releaseWaiters(): void {
    if (this.#waiters.length === 0) return;
    const due = this.#waiters.filter((waiter) => waiter.offset <= this.#durable);
    this.#waiters = this.#waiters.filter((waiter) => waiter.offset > this.#durable);
    for (const waiter of due) waiter.callback();
  }
}

function faultOf(cause: unknown): WhalesongError {
  const message = "a fault of the broker, which is logged there; nothing was changed";
  return new WhalesongError("internal", message, {}, { cause });
}
