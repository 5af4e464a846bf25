/* Progress: one bar on standard error for each phase, with rates; a line now and then where that is no terminal. */

import cliProgress from "cli-progress";

export interface Phase {
  /** Done so far, of the phase's total. */
  update(done: number, note?: string): void;
  /** Ends the bar. Answers the phase's duration in seconds. */
  end(): number;
}

/** Between two lines where standard error is no terminal. */
const lineEveryMs = 5_000;
/** Between two looks at the caller's counters. */
const updateEveryMs = 100;

/** Starts a phase of `total` steps. */
export function startPhase(name: string, total: number): Phase {
  const bar = new cliProgress.SingleBar({
    format: `${name.padEnd(11)} {bar} {percentage}%  {value}/{total}  {rate}/s{note}`,
    barsize: 24,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    hideCursor: true,
    noTTYOutput: true,
    notTTYSchedule: lineEveryMs,
    stream: process.stderr,
    // A second listener of SIGINT would end the process before the command could.
    gracefulExit: false,
  });
  const startMs = performance.now();
  bar.start(total, 0, { rate: 0, note: "" });
  let updatedMs = startMs;
  let latest: [number, string] = [0, ""];
  const show = (): void => {
    const rate = Math.round((latest[0] * 1_000) / Math.max(1, performance.now() - startMs));
    bar.update(latest[0], { rate, note: latest[1] });
  };
  return {
    update(done, note = "") {
      latest = [done, note];
      const nowMs = performance.now();
      if (nowMs - updatedMs < updateEveryMs) return;
      updatedMs = nowMs;
      show();
    },
    end() {
      show();
      bar.stop();
      return (performance.now() - startMs) / 1_000;
    },
  };
}
