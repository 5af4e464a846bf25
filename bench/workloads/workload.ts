/* Workload: something that a target is put through, measured round by round.
 *
 *   open at a target ──> rounds, each as often as wanted, in any order ──> close
 *
 * Opened at several targets at once, the same round can be measured at each of them in turns: that is how peers and
 * baselines are compared. Every run of a round checks that each reader got each message once. */

import type { Row } from "../report/result.ts";
import type { Run } from "../run.ts";
import type { Running, Target } from "../targets/target.ts";

export interface Site {
  run: Run;
  target: Target;
  running: Running;
}

export interface Round {
  /** "1,000 online, 32 in flight": the row's name. */
  readonly name: string;
  /** Warms up, measures, checks. @throws when a reader missed a message or got one twice */
  measure(): Promise<Row>;
}

export interface OpenedWorkload {
  readonly rounds: readonly Round[];
  /** Lets its load go; the target stays. */
  close(): Promise<void>;
}
