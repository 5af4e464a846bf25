/* Raising: the keeper raises the log's level (state/levels.ts) once every node reads the next one.
 *
 *   looking ──every node reads it, in several looks on end──> `level` is appended ──applied──> the next level, or done
 *      ^──── not the keeper, not at the head, or somebody does not read it ────'
 *
 * Every node: those that answer now, and those in the register (register.ts), which may be away. One look is not enough: a node that has just
 * begun, or whose connection was down, has not heard of all that are there.
 *
 * What is waited for is told when it changes, and kept for `whalesong cluster status`. A node that reads only older levels and that nobody
 * has heard of stops at the first batch of the new level, and says that it is to be upgraded.
 *
 * Knows no NATS. */

import type { Logger } from "../logger.ts";
import { orAborted, pause } from "./connection.ts";
import { type NodeRow, type RegisteredNode, levelsOf, rowsFor } from "./register.ts";
import type { NodeStatus } from "./status.ts";

/** Between two looks, in ms; a look takes about two seconds by itself. */
const lookMs = 1_000;
/** Looks on end in which all read the next level. */
const enoughLooks = 3;
/** For how many times as long it is left alone when what there is to know could not be had. */
const restTurns = 30;

/** A node that does not read the next level. */
export interface Holder {
  node: string;
  version: string;
  /** The newest level that it reads. */
  newest: number;
  /** Whether it is there now. */
  answers: boolean;
}

export interface RaisingParts {
  /** This node. */
  self: NodeRow;
  /** The newest level that this node can raise the log to. */
  newest: number;
  /** The level of what is applied here. */
  level: () => number;
  /** While this node is the keeper and at the head of the log: aborted once it is not the keeper. */
  tenure: () => AbortSignal | undefined;
  /** Who is there. */
  ask: () => Promise<NodeStatus[]>;
  register: {
    list(): Promise<RegisteredNode[]>;
    note(row: NodeRow): Promise<void>;
  };
  /** Appends the command. Settles once it is applied here. */
  raise: (to: number) => Promise<unknown>;
  logger: Logger;
  /** @default 1,000 */
  lookMs?: number;
}

export class Raising {
  readonly #parts: RaisingParts;
  readonly #closing = new AbortController();
  /** Looks on end in which all were found to read the next level, and in whose tenure. */
  #looks = 0;
  #of: AbortSignal | undefined;
  #waits: string | undefined;
  readonly #running: Promise<void>;

  /** Begins to look. */
  constructor(parts: RaisingParts) {
    this.#parts = parts;
    this.#running = this.#run();
  }

  /** What it waits for, in words; undefined when this is not the keeper, or there is no level to raise to. */
  get waits(): string | undefined {
    return this.#waits;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { lookMs: everyMs = lookMs } = this.#parts;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const isDone = await this.#step();
      await pause(isDone ? everyMs : restTurns * everyMs, signal).catch(() => {});
    }
  }

  /** False when what there is to know could not be had. */
  async #step(): Promise<boolean> {
    const { level, newest, tenure } = this.#parts;
    const mine = level() < newest ? tenure() : undefined;
    if (mine !== this.#of) this.#looks = 0;
    this.#of = mine;
    if (mine === undefined) {
      this.#waits = undefined;
      return true;
    }
    try {
      await orAborted(this.#look(level() + 1, mine), this.#closing.signal);
      return true;
    } catch (error) {
      if (!this.#closing.signal.aborted)
        this.#say(`level ${level() + 1}: ${(error as Error).message}`, error);
      this.#looks = 0;
      return false;
    }
  }

  async #look(next: number, mine: AbortSignal): Promise<void> {
    const { self, ask, register, raise, logger } = this.#parts;
    const answers = await ask();
    const known = await register.list();
    for (const row of rowsFor(self, answers)) if (!isNoted(row, known)) await register.note(row);
    const holders = holdersOf(next, known, answers);
    // This node hears itself, unless NATS is away just now.
    const isHeard = answers.some(({ run }) => run === self.run);
    this.#looks = holders.length === 0 && isHeard ? this.#looks + 1 : 0;
    if (holders.length > 0) this.#say(whatHolds(next, holders));
    else this.#waits = `level ${next}: every node is asked whether it reads it`;
    if (this.#looks < enoughLooks || mine.aborted || this.#closing.signal.aborted) return;
    await raise(next);
    this.#waits = undefined;
    this.#looks = 0;
    logger.info({ level: next }, "the cluster's level is raised: earlier versions no longer read its log");
  }

  /** Once for each thing that is waited for. */
  #say(waits: string, error?: unknown): void {
    if (waits === this.#waits) return;
    this.#waits = waits;
    const { logger } = this.#parts;
    if (error === undefined) logger.info({ waits }, "the cluster's level is not raised yet");
    else logger.warn({ err: error }, "the cluster's level cannot be raised; it is tried again");
  }
}

/** Who does not read level `next`, of those that answer and those in the register, by name. */
export function holdersOf(
  next: number,
  known: readonly RegisteredNode[],
  answers: readonly NodeStatus[],
): Holder[] {
  const holders = new Map<string, Holder>();
  const isThere = new Set(answers.map(({ node }) => node));
  for (const { node, version, newest } of known)
    if (newest < next) holders.set(node, { node, version, newest, answers: isThere.has(node) });
  for (const answer of answers) {
    const [, newest] = levelsOf(answer);
    const { node, version } = answer;
    if (newest < next) holders.set(node, { node, version, newest, answers: true });
  }
  return [...holders.values()].sort((a, b) => (a.node < b.node ? -1 : 1));
}

/** For people: whom level `next` waits for, and what to do. */
export function whatHolds(next: number, holders: readonly Holder[]): string {
  const each = holders.map(({ node, version, newest, answers }) => {
    const who = `${node} (${version}, reads up to level ${newest}`;
    if (answers) return `${who}): upgrade it`;
    const forget = `whalesong cluster forget ${shellWord(node)}`;
    return `${who}, does not answer): upgrade it, or when it is gone for good: ${forget}`;
  });
  return `level ${next} waits for ${each.join("; ")}`;
}

/** As a shell takes it for one word. */
export function shellWord(text: string): string {
  return /^[\w.:@%+=/][\w.:@%+=/-]*$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function isNoted({ node, run, oldest, newest }: NodeRow, known: readonly RegisteredNode[]): boolean {
  return known.some(
    (row) => row.node === node && row.run === run && row.oldest === oldest && row.newest === newest,
  );
}
