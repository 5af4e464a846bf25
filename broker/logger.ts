/* Logger: one line of JSON for an event, on stderr, so that stdout is free for people. */

import { type Logger, pino } from "pino";

import type { LogLevel } from "./options.ts";

export type { Logger };

/** `worker` is the number of the worker process that it is in. */
export function createLogger(level: LogLevel, worker?: number): Logger {
  const base = worker === undefined ? null : { worker };
  return pino({ level, base, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2));
}
