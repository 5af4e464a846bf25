/* Watch: what a server under load spends, looked at from within its process. Handlers for `serveAsks`. */

import { monitorEventLoopDelay } from "node:perf_hooks";

import { type Spent, startMeasuring } from "./measure.ts";

/** What a process spent while it was watched, with the CPU time of all its threads. */
export interface Watched {
  spent: Spent;
  /** How late its event loop came to what was due: how long it did one thing and let nothing else in between. */
  loopDelayMs: { p99: number; max: number };
}

let spent = startMeasuring();
const loopDelay = monitorEventLoopDelay({ resolution: 1 });

export const watchHandlers = {
  /** Begins to watch; a later begin replaces this one. */
  beginWatch(): void {
    spent = startMeasuring();
    loopDelay.reset();
    loopDelay.enable();
  },
  endWatch(): Watched {
    loopDelay.disable();
    return { spent: spent(), loopDelayMs: { p99: loopDelay.percentile(99) / 1e6, max: loopDelay.max / 1e6 } };
  },
};
export type WatchHandlers = typeof watchHandlers;
