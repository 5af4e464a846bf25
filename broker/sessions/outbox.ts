/* Outbox: frames on their way to one connection, as runs that are shared with other sessions (run.ts).
 *
 * Bounded: when it holds more than `outboxBytes` of events these are dropped, and their subscriptions go back to catch-up
 * from where the first dropped one leaves them. Answers are never dropped; the session begins no request while they pile
 * up. */

import type { Offset } from "../state/index.ts";
import type { Frame } from "../streams/index.ts";
import { Run } from "./run.ts";

/** The most events a session keeps for a connection that does not take them, in bytes. */
export const outboxBytes = 1_048_576;
/** What is written at once, in bytes; more only where one frame is larger. */
const runBytes = 65_536;

/** Sessions share runs with those of the same encoder: others' frames are never the same. */
const beginnings: Run[] = [];

export class Outbox {
  readonly #beginning: Run;
  /** Runs that are full, oldest first. */
  #full: Run[] | undefined;
  #last: Run;
  #eventBytes = 0;
  #answerBytes = 0;

  /** `encoder` is the index of the one that made its frames. */
  constructor(encoder: number) {
    this.#beginning = beginnings[encoder] ??= Run.begin();
    this.#last = this.#beginning;
  }

  get eventBytes(): number {
    return this.#eventBytes;
  }

  get answerBytes(): number {
    return this.#answerBytes;
  }

  get bytes(): number {
    return this.#eventBytes + this.#answerBytes;
  }

  get isEmpty(): boolean {
    return this.#last === this.#beginning && this.#full === undefined;
  }

  push(frame: Frame): void {
    const bytes = frame.bytes.length;
    if (frame.sub === 0) this.#answerBytes += bytes;
    else this.#eventBytes += bytes;
    if (this.#last.bytes + bytes > runBytes && this.#last !== this.#beginning) {
      this.#full ??= [];
      this.#full.push(this.#last);
      this.#last = this.#beginning;
    }
    this.#last = this.#last.with(frame);
  }

  /** Takes the oldest frames out, as many as are to be written at once. Not when it is empty. */
  take(): Buffer {
    const run = this.#takeRun();
    this.#eventBytes -= run.eventBytes;
    this.#answerBytes -= run.bytes - run.eventBytes;
    return run.joined();
  }

  /** Drops all events. Returns for each subscription where it must go on from. */
  dropEvents(): Map<number, Offset> {
    const positions = new Map<number, Offset>();
    this.#keep((frame) => {
      if (frame.sub !== 0 && !positions.has(frame.sub)) positions.set(frame.sub, frame.before);
      return frame.sub === 0;
    });
    return positions;
  }

  /** Drops what waits for one subscription. */
  dropSubscription(sub: number): void {
    this.#keep((frame) => frame.sub !== sub);
  }

  #takeRun(): Run {
    const run = this.#full?.shift();
    if (this.#full?.length === 0) this.#full = undefined;
    if (run !== undefined) return run;
    const last = this.#last;
    this.#last = this.#beginning;
    return last;
  }

  #keep(isKept: (frame: Frame) => boolean): void {
    const runs = [...(this.#full ?? []), this.#last];
    this.#full = undefined;
    this.#last = this.#beginning;
    this.#eventBytes = 0;
    this.#answerBytes = 0;
    for (const run of runs) for (const frame of run.frames()) if (isKept(frame)) this.push(frame);
  }
}
