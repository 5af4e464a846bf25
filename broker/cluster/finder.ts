/* Finder: asks all peers at once for cursors that this node does not know, or may know in part.
 *
 * Who has a cursor on some node only is not to be taken for new here, and begun at the head: what lies between would be
 * missed. Questions of one turn of the event loop travel together, and are answered within a round trip; a peer that is gone
 * delays those of the first second, and is not waited for again. */

import type { CursorKey } from "../state/index.ts";
import { bytesOfRow } from "./gossip-messages.ts";
import type { Peers } from "./peers.ts";
import type { Run } from "./versions.ts";

export interface FinderOptions {
  peers: Peers;
  ask: (ticket: number, keys: CursorKey[]) => void;
  /** Bytes that the answer to one question may take. */
  maxBytes: () => number;
  /** How long peers have to answer, in ms. */
  findMs: number;
}

interface Question {
  waitsFor: Set<Run>;
  settle: (isAnswered: boolean) => void;
}

export class Finder {
  readonly #options: FinderOptions;
  readonly #questions = new Map<number, Question>();
  #gathering = new Map<CursorKey, Promise<boolean>>();
  #settleGathering: (isAnswered: boolean) => void = () => {};
  #gathered: Promise<boolean> | undefined;
  #ticket = 0;

  constructor(options: FinderOptions) {
    this.#options = options;
  }

  /** Settles once all peers that answer have told what they know of `key`: whether all that there are did, and are some. */
  find(key: CursorKey): Promise<boolean> {
    const found = this.#gathering.get(key) ?? this.#gather();
    this.#gathering.set(key, found);
    return found;
  }

  /** `run` has answered. */
  answered(ticket: number, run: Run): void {
    this.#strike(this.#questions.get(ticket), run);
  }

  /** `run` answers nothing any more. */
  gone(run: Run): void {
    for (const question of this.#questions.values()) this.#strike(question, run);
  }

  /** Waits for nobody any more. */
  giveUp(): void {
    for (const { settle } of this.#questions.values()) settle(false);
  }

  #gather(): Promise<boolean> {
    if (this.#gathered === undefined) {
      this.#gathered = new Promise((resolve) => {
        this.#settleGathering = resolve;
      });
      setImmediate(() => this.#askAll());
    }
    return this.#gathered;
  }

  #askAll(): void {
    const keys = [...this.#gathering.keys()];
    const settle = this.#settleGathering;
    this.#gathering = new Map();
    this.#gathered = undefined;
    void Promise.all(this.#parts(keys).map((part) => this.#ask(part))).then((answered) =>
      settle(answered.every(Boolean)),
    );
  }

  #parts(keys: CursorKey[]): CursorKey[][] {
    const parts: CursorKey[][] = [];
    let room = 0;
    for (const key of keys) {
      room -= bytesOfRow(key);
      if (room < 0) {
        parts.push([]);
        room = this.#options.maxBytes() - bytesOfRow(key);
      }
      parts.at(-1)!.push(key);
    }
    return parts;
  }

  #ask(keys: CursorKey[]): Promise<boolean> {
    const { peers, ask, findMs } = this.#options;
    const waitsFor = new Set(peers.answering);
    if (waitsFor.size === 0) return Promise.resolve(false);
    const areAll = waitsFor.size === peers.count;
    const ticket = ++this.#ticket;
    return new Promise((resolve) => {
      const settle = (isAnswered: boolean): void => {
        clearTimeout(timer);
        this.#questions.delete(ticket);
        resolve(isAnswered && areAll);
      };
      const timer = setTimeout(() => {
        for (const run of waitsFor) peers.silent(run);
        settle(false);
      }, findMs);
      this.#questions.set(ticket, { waitsFor, settle });
      ask(ticket, keys);
    });
  }

  #strike(question: Question | undefined, run: Run): void {
    if (question === undefined) return;
    question.waitsFor.delete(run);
    if (question.waitsFor.size === 0) question.settle(true);
  }
}
