/* Fitness: whether a command may be appended, whichever log it goes to. What is appended is applied by others, so it is looked at first. */

import { WhalesongError } from "../../protocol/index.ts";
import { type Command, type Level, faultOf, levelNeeded, newestLevel } from "../state/index.ts";

/** Why a log whose store has this level does not take `command`: it has no such command yet, or this is none, which is a fault of ours. */
export function refusalOf(command: Command, level: Level): WhalesongError | undefined {
  if (command.op !== "level" && levelNeeded(command) > level) {
    return new WhalesongError(
      "not_yet",
      `${command.op}: not before all of the cluster is upgraded (whalesong cluster status says what it waits for)`,
    );
  }
  // Its time is said when its turn comes.
  (command as { at?: number }).at = 0;
  const fault = faultOf(command, newestLevel);
  if (fault === undefined) return undefined;
  const message = "a fault of the broker, which is logged there; nothing was changed";
  return new WhalesongError("internal", message, {}, { cause: new Error(fault) });
}
