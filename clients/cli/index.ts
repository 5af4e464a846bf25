/* The command line for people: everything but `serve`, `doctor` and `bench`.
 *
 * Each command speaks to a broker through the SDK alone; what is heavy is imported when a command runs, so that
 * `--help` answers at once. */

import type { Command } from "commander";

import { registerFollow } from "./follow.ts";
import { registerPost } from "./post.ts";
import { registerRead } from "./read.ts";
import { registerReplay } from "./replay/index.ts";
import { registerTail } from "./tail.ts";
import { registerToken } from "./token.ts";

export function registerClientCommands(program: Command): void {
  registerPost(program);
  registerFollow(program);
  registerTail(program);
  registerRead(program);
  registerToken(program);
  registerReplay(program);
}
