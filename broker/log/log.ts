/* Log: what gives commands their order and makes them last.
 *
 *   append(command) ── ordered ──> applied ── durable ──> its outcome is answered, its entry is told to the listener
 *
 * All that a log promises:
 *  - commands appended one after another by one caller are applied in that order;
 *  - `append` settles, and the listener hears of the entry, after it is durable, never before;
 *  - the listener hears of every entry once, in offset order, and `whenDurable` callbacks run before it hears of an
 *    entry with a greater offset;
 *  - a command that fails for want of storage changed nothing and can be sent again.
 *
 * Standalone and cluster differ in the log alone. */

import type { Command, Entry, Offset, Outcome } from "../state/index.ts";

/** Hears of durable entries, in order. `durable` is the offset up to which all is durable now. */
export type EntryListener = (entries: Entry[], durable: Offset) => void;

export interface Log {
  /** Takes the command over, and settles with the outcome once it is durable. @throws WhalesongError `unavailable`, `storage_full` */
  append(command: Command): Promise<Outcome>;
  /** All up to this offset is durable and was told to the listener. */
  readonly durable: Offset;
  /** Runs `callback` once all up to `offset` is durable: now, or later, before later entries are told. */
  whenDurable(offset: Offset, callback: () => void): void;
  /** Settles once all that was answered to anyone before the call, here or by another process, was told to the listener;
   *  undefined when that is so. */
  current(): Promise<void> | undefined;
  /** Where nodes share a log, a client may hold a position that another node has given it and this one is not at yet. Waits
   *  until all up to `offset` was told to the listener, or for some seconds; undefined when there is nothing to wait for.
   *  @throws WhalesongError `unavailable` when it was not reached and this node is known to be behind */
  reach(offset: Offset): Promise<void> | undefined;
  /** Why commands are refused at present; undefined when they are taken. */
  readonly refusal: string | undefined;
  /** Commands waiting to be applied, for metrics. */
  readonly pending: number;
  /** Refuses further commands and waits for those that were taken. */
  close(): Promise<void>;
}
