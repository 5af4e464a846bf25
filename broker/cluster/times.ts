/* Times: what time a command of the cluster's log gets. Every node decides alike, from the log alone: the time of the writer's clock,
 * the time at which NATS stored the message, and the newest time so far.
 *
 * No one clock can carry the log's time away:
 *  - a command is at most some minutes after its message was stored: a node whose clock is a year ahead moves it by minutes;
 *  - the time does not run backwards, though writers' clocks differ;
 *  - but where the writer's clock and that of NATS agree that it is ahead by more than those minutes, it was wrong, and goes back. */

import { mostAstrayMs } from "../log/clock.ts";

/** All in ms since the Unix epoch: of the writer's clock, of the message, the newest so far. */
export function timeOf(at: number, storedAt: number, lastAt: number): number {
  const bounded = Math.min(at, storedAt + mostAstrayMs);
  if (bounded >= lastAt || lastAt - Math.max(at, storedAt) > mostAstrayMs) return bounded;
  return lastAt;
}
