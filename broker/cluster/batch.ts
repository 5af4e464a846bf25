/* Batch: what one message of the log holds.
 *
 *   [v, writer, generation, number, commands]    msgpack
 *
 * A writer is one run of one node. It numbers its batches from 1, and begins again at 1 with a higher generation when it has given up
 * on some. Commands carry the time of the writer's clock. */

import { Packr, unpack } from "msgpackr";

import type { Stamped } from "../state/index.ts";

/** The version of this format, and of the commands in it. A node that meets a newer one stops, since it cannot know what it means.
 *
 *   1   no users are dropped
 *   2   users whom nothing refers to are */
export const batchFormat = 2;

export interface Batch {
  writer: string;
  generation: number;
  number: number;
  commands: Stamped[];
}

/** A message of the log that this node cannot apply, and so cannot pass over. */
export class BatchError extends Error {
  override readonly name = "BatchError";
}

/** `toJSON` in what a client sent is a key like any other, and is not called. */
const packr = new Packr({ useRecords: false, useToJSON: false });

/** @throws for a command that cannot be packed; see `faultOfCommand` */
export function encodeBatch({ writer, generation, number, commands }: Batch): Uint8Array {
  return packr.pack([batchFormat, writer, generation, number, commands]);
}

/** Why a command cannot be part of a batch; undefined when it can. */
export function faultOfCommand(command: Stamped): { error: unknown } | undefined {
  try {
    packr.pack(command);
    return undefined;
  } catch (error) {
    return { error };
  }
}

/** @throws BatchError for one of a newer format, or for what is no batch at all */
export function decodeBatch(bytes: Uint8Array): Batch {
  let parts: unknown;
  try {
    parts = unpack(bytes);
  } catch (cause) {
    throw new BatchError("it is no batch of commands", { cause });
  }
  if (!Array.isArray(parts) || typeof parts[0] !== "number")
    throw new BatchError("it is no batch of commands");
  const format = parts[0];
  if (format > batchFormat) {
    throw new BatchError(
      `it has command format ${format}, this node reads up to ${batchFormat}: upgrade this node; it goes on where it stopped`,
    );
  }
  const [, writer, generation, number, commands] = parts as [number, unknown, unknown, unknown, unknown];
  const isWhole =
    typeof writer === "string" && isCount(generation) && isCount(number) && Array.isArray(commands);
  if (!isWhole) throw new BatchError("it is no batch of commands");
  const stamped = commands as Stamped[];
  // Each is applied as nodes of the version that wrote it apply it.
  if (format < 2) for (const command of stamped) Object.assign(command, { keepsUsers: true });
  return { writer, generation, number, commands: stamped };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}
