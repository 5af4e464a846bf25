/* Refusals: why a node of a cluster takes no commands, in words for who asks. */

import { WhalesongError } from "../../protocol/index.ts";
import { isForWantOfRoom } from "../state/index.ts";

export function unavailable(message: string): WhalesongError {
  return new WhalesongError("unavailable", message);
}

/** The log is another than the one applied here. */
export function mismatch(how: string): WhalesongError {
  return new WhalesongError(
    "epoch_mismatch",
    `the cluster's log is not the one that this node has applied: ${how}; restore the log, or begin anew with this node's data (whalesong cluster init --help)`,
  );
}

/** A transaction failed. */
export function failureOf(error: unknown): WhalesongError {
  if (isForWantOfRoom(error))
    return new WhalesongError(
      "storage_full",
      `the store could not be written (${(error as Error).message}); this node goes on when there is room`,
    );
  return new WhalesongError("internal", "a fault of the broker, which is logged there");
}
