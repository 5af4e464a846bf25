/* Logger: one line of JSON for an event, on stderr, so that stdout is free for people. */

import { type Logger, pino } from "pino";

import type { LogLevel } from "./options.ts";

export type { Logger };

export function createLogger(level: LogLevel): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2));
}
