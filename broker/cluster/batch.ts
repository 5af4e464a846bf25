/* Batch: what one message of the log holds.
 *
 *   [stamp, writer, generation, number, commands]    msgpack
 *
 * The stamp says which level its commands need (state/levels.ts): a node that does not read that level stops, since it cannot know what they
 * mean. A command `level` is alone in its batch: what comes before it is of the level before. Stamp 1 is of a version before 0.1.0, which
 * dropped no users.
 *
 * A writer is one run of one node. It numbers its batches from 1, and begins again at 1 with a higher generation when it has given up
 * on some. Commands carry the time of the writer's clock. */

import { Packr, unpack } from "msgpackr";

import {
  type Level,
  type Stamped,
  faultOf,
  levelNeeded,
  levelOfStamp,
  newestLevel,
  oldestLevel,
  stampOf,
} from "../state/index.ts";

/** The greatest stamp that this version reads. */
export const newestStamp = stampOf(newestLevel);
/** The least, of a version that dropped no users. */
const keepingStamp = 1;

export interface Batch {
  writer: string;
  generation: number;
  number: number;
  commands: Stamped[];
}

/** A message of the log that this node cannot apply, and so cannot leave out by itself. */
export class BatchError extends Error {
  override readonly name = "BatchError";
  /** A newer version reads it; otherwise it is malformed, and nobody does. */
  readonly isNewer: boolean;
  /** Its place in the log, once that is known. */
  readonly seq: number | undefined;

  constructor(
    message: string,
    { isNewer = false, seq, cause }: { isNewer?: boolean; seq?: number; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.isNewer = isNewer;
    this.seq = seq;
  }
}

/** `toJSON` in what a client sent is a key like any other, and is not called. */
const packr = new Packr({ useRecords: false, useToJSON: false });

/** Of commands that are all of one level, as `commandAt` makes them. @throws for a command that cannot be packed; see `unfit` */
export function encodeBatch({ writer, generation, number, commands }: Batch): Uint8Array {
  const level = levelOf(commands);
  const packed = level === newestLevel ? commands : commands.map(withoutLevel);
  return packr.pack([stampOf(level), writer, generation, number, packed]);
}

/** The level that a reader needs for all of them. */
function levelOf(commands: readonly Stamped[]): Level {
  let level: Level = oldestLevel;
  for (const command of commands)
    level = Math.max(level, command.level ?? newestLevel, levelNeeded(command)) as Level;
  return level;
}

/** The level that a log must have before it holds such a batch. */
export function levelBefore(commands: readonly Stamped[]): Level {
  let level: Level = oldestLevel;
  for (const command of commands)
    if (command.op !== "level") level = Math.max(level, command.level ?? newestLevel) as Level;
  return level;
}

/** The level is told by the batch's stamp. */
function withoutLevel(command: Stamped): Stamped {
  const { level: _, ...bare } = command;
  return bare;
}

/** Why a command cannot be part of a batch; undefined when it can. */
export function unfit(command: Stamped): { error: unknown } | undefined {
  try {
    packr.pack(command);
    return undefined;
  } catch (error) {
    return { error };
  }
}

/** @throws BatchError for one that needs a level which this version does not read, and for what is no batch of commands of the level it names */
export function decodeBatch(bytes: Uint8Array): Batch {
  let parts: unknown;
  try {
    parts = unpack(bytes);
  } catch (cause) {
    throw new BatchError("it is no batch of commands", { cause });
  }
  if (!Array.isArray(parts) || !isCount(parts[0])) throw new BatchError("it is no batch of commands");
  const stamp = parts[0];
  if (stamp > newestStamp) {
    throw new BatchError(
      `it has command format ${stamp}, this node reads up to ${newestStamp}: upgrade this node; it goes on where it stopped`,
      { isNewer: true },
    );
  }
  const [, writer, generation, number, commands] = parts as [number, unknown, unknown, unknown, unknown];
  if (typeof writer !== "string" || !isCount(generation) || !isCount(number) || !Array.isArray(commands))
    throw new BatchError("it is no batch of commands");
  const level = levelOfStamp(stamp);
  for (let i = 0; i < commands.length; i++) {
    const fault = faultOf(commands[i], level);
    if (fault !== undefined) throw new BatchError(`its command ${i + 1}, ${fault}`);
  }
  const stamped = commands as Stamped[];
  if (level === 1) for (const command of stamped) command.level = 1;
  if (stamp === keepingStamp) for (const command of stamped) command.keepsUsers = true;
  return { writer, generation, number, commands: stamped };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}
