/* Weight: what a command that waits holds, in bytes, about. Characters are counted as two. */

import type { Command } from "../state/index.ts";

/** A command and its promise besides the text and data it carries, in bytes, about. */
const commandBytes = 512;

export function weightOf(command: Command): number {
  if (command.op !== "post") return commandBytes;
  const bytes = commandBytes + 2 * command.text.length;
  return command.data === undefined ? bytes : bytes + weightWithin(command.data);
}

function weightWithin(value: unknown): number {
  if (typeof value === "string") return 16 + 2 * value.length;
  if (typeof value !== "object" || value === null) return 8;
  let bytes = 32;
  for (const inner of Object.values(value)) bytes += 16 + weightWithin(inner);
  return bytes;
}
