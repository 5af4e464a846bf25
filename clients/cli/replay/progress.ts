/* Progress: one bar on standard error for each phase, with rates; a line now and then where that is no terminal. */

import cliProgress from "cli-progress";

export interface Phase {
  /** Done so far, of the phase's total. */
  update(done: number, note?: string): void;
  /** Ends the bar, whose timer would keep the process. Answers the phase's duration in seconds. */
  end(): number;
}

/** Between two lines where standard error is no terminal. */
const lineEveryMs = 5_000;
/** Between two looks at the caller's counters. */
const updateEveryMs = 100;

/** Runs a phase of `total` steps, whose bar ends also when `work` throws. Answers its duration with what `work` returned. */
export async function runPhase<Result>(
  name: string,
  total: number,
  work: (update: Phase["update"]) => Promise<Result>,
): Promise<{ result: Result; seconds: number }> {
  const phase = startPhase(name, total);
  try {
    const result = await work((done, note) => phase.update(done, note));
    return { result, seconds: phase.end() };
  } catch (error) {
    phase.end();
    throw error;
  }
}

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
  const seconds = (): number => (performance.now() - startMs) / 1_000;
  bar.start(total, 0, { rate: 0, note: "" });
  let updatedMs = startMs;
  let latest: [number, string] = [0, ""];
  const show = (): void => {
    bar.update(latest[0], { rate: Math.round(latest[0] / Math.max(0.001, seconds())), note: latest[1] });
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
      return seconds();
    },
  };
}
