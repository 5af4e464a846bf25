/* Interactions: a file of who did what to whom, read line by line.
 *
 *     userA userB unixSeconds kind        RT  A reposts B
 *                                         MT  A mentions B
 *                                         RE  A replies to B
 *
 * In the order of time; what else such a file may hold is the business of lines.ts. */

import { checkHandle } from "../../../protocol/names.ts";
import { CommandError } from "../command.ts";
import { readLines } from "../lines.ts";

const kinds = ["RT", "MT", "RE"] as const;
export type InteractionKind = (typeof kinds)[number];

export interface Interaction {
  actor: string;
  target: string;
  atSeconds: number;
  kind: InteractionKind;
}

export interface ReadOptions {
  /** Only so many interactions. @default all */
  limit?: number;
  /** Put before every handle, so that a broker can take the same file twice. @default "" */
  prefix?: string;
}

/** One line without its end. @throws CommandError `bad_file` that names the line. */
export function parseInteraction(text: string, line: number, prefix = ""): Interaction {
  const [actor, target, at, kind, more] = text.trim().split(/\s+/);
  const atSeconds = Number(at);
  if (
    actor === undefined ||
    target === undefined ||
    more !== undefined ||
    !kinds.includes(kind as InteractionKind) ||
    !(Number.isFinite(atSeconds) && atSeconds >= 0)
  ) {
    throw badLine(line, `${JSON.stringify(text.slice(0, 80))} is not "userA userB unixSeconds RT|MT|RE"`);
  }
  try {
    return {
      actor: checkHandle(prefix + actor, "userA"),
      target: checkHandle(prefix + target, "userB"),
      atSeconds,
      kind: kind as InteractionKind,
    };
  } catch (cause) {
    throw badLine(line, (cause as Error).message, cause);
  }
}

/** The interactions of the file, in its order. @throws CommandError `bad_file` */
export async function* readInteractions(
  path: string,
  { limit = Infinity, prefix = "" }: ReadOptions = {},
): AsyncGenerator<Interaction, void, undefined> {
  let left = limit;
  if (left <= 0) return;
  for await (const { text, number } of readLines(path)) {
    yield parseInteraction(text, number, prefix);
    if (--left <= 0) return;
  }
}

function badLine(line: number, message: string, cause?: unknown): CommandError {
  return new CommandError("bad_file", `line ${line}: ${message}`, { cause });
}
