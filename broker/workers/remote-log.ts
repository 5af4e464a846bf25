/* RemoteLog: the log as a worker has it. Another process applies; this one sends commands there and reads what happened from LMDB.
 *
 *   append ──> [append] ──> the process that applies ──> [durable, outcomes] ──> entries read from a fresh snapshot
 *                                                                          ──> whenDurable, answers, the listener
 *
 * Durable means the same as there: it is told of an offset once all up to it is on disk, and reads up to it, never past it.
 * So a worker's head is at most the broker's, and lags it by one message. Entries are read in steps, so that a worker
 * that was held up does not hold up its event loop again. */

import { WhalesongError, type ErrorBody } from "../../protocol/index.ts";
import type { EntryListener, Log } from "../log/log.ts";
import type { Command, Entry, Offset, Outcome, State } from "../state/index.ts";
import type { FromWorker, Settled, Ticket } from "./messages.ts";

/** Entries read and told to the listener in one turn of the event loop. */
const maxStep = 2_048;

interface Waiting {
  resolve: (outcome: Outcome) => void;
  reject: (error: unknown) => void;
}

export interface RemoteLogOptions {
  listener: EntryListener;
  send: (message: FromWorker) => void;
  /** Has the applying process come to an offset, as far as may be; answers how far it is. */
  reach: (offset: Offset) => Promise<Offset>;
  /** It begins after this offset. */
  after: Offset;
}

export class RemoteLog implements Log {
  readonly #state: State;
  readonly #options: RemoteLogOptions;
  readonly #waiting = new Map<Ticket, Waiting>();
  #ticket: Ticket = 0;
  #durable: Offset;
  /** All up to here is durable; what is after `#durable` was not read yet. */
  #target: Offset;
  #settled: Settled[] = [];
  #waiters: { offset: Offset; callback: () => void }[] = [];
  #isStepping = false;
  #isClosed = false;
  #idle: (() => void)[] = [];

  constructor(state: State, options: RemoteLogOptions) {
    this.#state = state;
    this.#options = options;
    this.#durable = options.after;
    this.#target = options.after;
  }

  get durable(): Offset {
    return this.#durable;
  }

  get pending(): number {
    return this.#waiting.size;
  }

  /** Whether commands are taken is the applying process's to say. */
  get refusal(): undefined {
    return undefined;
  }

  /** `bytes`: what counts against its user's rate of bytes; undefined when the user is not rated. */
  append(command: Command, bytes?: number): Promise<Outcome> {
    if (this.#isClosed)
      return Promise.reject(
        new WhalesongError("unavailable", "the broker is stopping; try again elsewhere or later"),
      );
    const ticket = ++this.#ticket;
    this.#options.send(["append", ticket, command, bytes ?? null]);
    return new Promise((resolve, reject) => this.#waiting.set(ticket, { resolve, reject }));
  }

  whenDurable(offset: Offset, callback: () => void): void {
    if (offset <= this.#durable) callback();
    else this.#waiters.push({ offset, callback });
  }

  /** Whoever was answered before, by any worker, had it committed before: it is in a snapshot taken now. */
  current(): Promise<void> | undefined {
    const applied = this.#state.applied();
    if (applied <= this.#durable) return undefined;
    return new Promise((resolve) => this.whenDurable(applied, resolve));
  }

  /** The applying process knows whether there is anything to wait for. What it has reached comes here soon. */
  reach(offset: Offset): Promise<void> | undefined {
    return offset <= this.#durable ? undefined : this.#reach(offset);
  }

  async #reach(offset: Offset): Promise<void> {
    const reached = Math.min(offset, await this.#options.reach(offset));
    if (reached > this.#durable) await new Promise<void>((resolve) => this.whenDurable(reached, resolve));
  }

  /** The applying process says that all up to `durable` is, and what this worker's commands up to there came to. */
  advance(durable: Offset, settled: Settled[]): void {
    this.#target = Math.max(this.#target, durable);
    this.#settled = this.#settled.length === 0 ? settled : this.#settled.concat(settled);
    if (!this.#isStepping) this.#step();
  }

  /** A command was not taken, and changed nothing. */
  refuse(ticket: Ticket, error: ErrorBody): void {
    this.#take(ticket).reject(WhalesongError.fromBody(error));
    this.#noteIdle();
  }

  /** A command could not be sent. */
  fail(ticket: Ticket, error: unknown): void {
    this.#take(ticket).reject(error);
    this.#noteIdle();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#waiting.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #step(): void {
    this.#state.refresh();
    const { floor } = this.#state.meta;
    // It is never so: retention waits for what workers have heard. Were it so, readers would miss entries and not know.
    if (floor > this.#durable)
      throw new Error(`entries up to ${floor} are gone, heard up to ${this.#durable}`);
    const entries = this.#state.takeEntries(this.#target, maxStep);
    const durable = entries.length < maxStep ? this.#target : entries.at(-1)!.offset;
    this.#durable = Math.max(this.#durable, durable);
    this.#releaseWaiters();
    this.#settle(entries);
    this.#options.listener(entries, this.#durable);
    this.#noteIdle();
    this.#isStepping = this.#durable < this.#target;
    if (this.#isStepping) setImmediate(() => this.#step());
  }

  /** Answers the commands up to what is durable. Theirs are among the entries just read, in the same order. */
  #settle(entries: Entry[]): void {
    let next = 0;
    let count = 0;
    for (const [ticket, offset, answer, refusal] of this.#settled) {
      if (offset > this.#durable) break;
      count++;
      const outcome: Outcome = { offset, answer };
      while (next < entries.length && entries[next]!.offset < offset) next++;
      const entry = entries[next];
      if (entry?.offset === offset) outcome.entry = entry;
      if (refusal !== undefined) outcome.error = WhalesongError.fromBody(refusal);
      this.#take(ticket).resolve(outcome);
    }
    this.#settled = count === this.#settled.length ? [] : this.#settled.slice(count);
  }

  #take(ticket: Ticket): Waiting {
    const waiting = this.#waiting.get(ticket);
    if (waiting === undefined) throw new Error(`command ${ticket} is answered and was not asked`);
    this.#waiting.delete(ticket);
    return waiting;
  }

  #releaseWaiters(): void {
    if (this.#waiters.length === 0) return;
    const due = this.#waiters.filter((waiter) => waiter.offset <= this.#durable);
    this.#waiters = this.#waiters.filter((waiter) => waiter.offset > this.#durable);
    for (const waiter of due) waiter.callback();
  }

  #noteIdle(): void {
    if (this.#isClosed && this.#waiting.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
