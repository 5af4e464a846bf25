/* Writers: which batches of the log count. Every node decides alike, by what it applied before.
 *
 * A batch counts when it is the next of its writer: the number after the last one, or number 1 of a higher generation. Any
 * other is passed over and takes no offset. So
 *  - a writer that does not know whether a batch arrived sends it again, as often as it likes: it counts once;
 *  - when one is lost and those after it arrive, they wait for it to be sent again: a writer's commands keep their order;
 *  - once a batch of a higher generation counted, none of a lower one does, however late it comes. */

import type { WriterMark } from "../state/index.ts";
import type { Batch } from "./batch.ts";

export type Writers = Readonly<Record<string, WriterMark>>;

/** Those that wrote lately; the one that was silent longest is forgotten for a new one. */
export const maxWriters = 64;

/**
 * `counts`: it is applied. `again`: it was before. `gap`: one before it is missing. `stranger`: not a first one, of a writer that
 * is not known, or no longer.
 */
export type Verdict = "counts" | "again" | "gap" | "stranger";

export function judge(writers: Writers, { writer, generation, number }: Omit<Batch, "commands">): Verdict {
  const mark = writers[writer];
  if (mark === undefined) return number === 1 ? "counts" : "stranger";
  if (generation === mark.generation) {
    if (number === mark.number + 1) return "counts";
    return number <= mark.number ? "again" : "gap";
  }
  if (generation < mark.generation) return "again";
  return number === 1 ? "counts" : "gap";
}

/** The writers after a batch that counted, at the log's sequence `seq`. */
export function noted(
  writers: Writers,
  { writer, generation, number }: Omit<Batch, "commands">,
  seq: number,
): Writers {
  const next = { ...writers, [writer]: { generation, number, seq } };
  const names = Object.keys(next);
  if (names.length > maxWriters) {
    let oldest = writer;
    for (const name of names) if (next[name]!.seq < next[oldest]!.seq) oldest = name;
    delete next[oldest];
  }
  return next;
}
