/* Readiness: why a broker does not serve at present, or that it does. One for the whole broker, whatever it is made of: alone, with
 * workers, a node of a cluster.
 *
 * A reason belongs to a topic, and is asked for each time: it ends with its cause, and nobody has to take it back. When several hold,
 * the first topic in the order is told, since it explains those behind it. */

/** What can keep a broker from serving, the most telling first:
 *  - `life`: it is starting, or stopping
 *  - `files`: the files it has open are no longer those of its data folder
 *  - `clock`: its clock cannot be believed
 *  - `log`: commands are refused
 *  - `append`: a command has waited too long to be durable
 *  - `cursors`: cursors have waited too long to be written */
const topics = ["life", "files", "clock", "log", "append", "cursors"] as const;
export type ReadinessTopic = (typeof topics)[number];

/** Why not; undefined when nothing is wrong. */
export type Reason = () => string | undefined;

/** For how long a command may wait to be durable, in ms. */
const appendWaitMs = 2_000;
/** For how long cursors may wait to be written, in ms. */
const cursorWaitMs = 5_000;

export class Readiness {
  readonly #reasons = new Map<ReadinessTopic, Reason>();

  set(topic: ReadinessTopic, reason: Reason): void {
    this.#reasons.set(topic, reason);
  }

  /** Undefined when the broker serves. */
  get reason(): string | undefined {
    for (const topic of topics) {
      const reason = this.#reasons.get(topic)?.();
      if (reason !== undefined) return reason;
    }
    return undefined;
  }
}

/** For `append`: `waitedMs` is how long the command has waited that waits longest; 0 when none does. */
export function appendReason(waitedMs: number): string | undefined {
  if (waitedMs < appendWaitMs) return undefined;
  return `a command has waited ${seconds(waitedMs)} to be durable: the log confirms nothing, or too slowly`;
}

/** For `cursors`: as for `append`. */
export function cursorReason(waitedMs: number): string | undefined {
  if (waitedMs < cursorWaitMs) return undefined;
  return `cursors have not been written for ${seconds(waitedMs)}, though some wait: the store cannot be written, or too slowly`;
}

function seconds(ms: number): string {
  return `${Math.floor(ms / 1_000)} s`;
}
