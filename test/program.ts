/* Program: whalesong and its bench as processes of their own.
 *
 * They run as they are built where that is as new as the sources, as it is in `npm test`: such a process starts in a third of the time. */

import { isCompiled, locate } from "../bench/built.ts";

/** Node.js' arguments for a script named by its path without its ending, `broker/main`; the script's own come behind them. */
export function nodeArgs(script: string): string[] {
  const { file } = locate(script);
  return isCompiled ? [file] : fromSource(file);
}

/** The same for a file of sources. */
export function fromSource(file: string): string[] {
  return ["--import=tsx", file];
}
