/* Measure: what a process spent while it did something. */

/** Wall-clock time and the CPU time, user and system apart, that one process spent in it; in seconds. */
export interface Spent {
  seconds: number;
  userSeconds: number;
  systemSeconds: number;
}

/** Starts to measure this process; call the answer to learn what it has spent since. */
export function startMeasuring(): () => Spent {
  const startMs = performance.now();
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return {
      seconds: (performance.now() - startMs) / 1_000,
      userSeconds: user / 1e6,
      systemSeconds: system / 1e6,
    };
  };
}

/** CPU time as a part of the time that passed: 1 is one core, used all the time. */
export function cpuShare({ seconds, userSeconds, systemSeconds }: Spent): number {
  return (userSeconds + systemSeconds) / Math.max(seconds, 1e-9);
}

/** The middle one of some numbers, at least one. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (low === undefined || high === undefined) throw new Error("a median needs one value at least");
  return (low + high) / 2;
}
