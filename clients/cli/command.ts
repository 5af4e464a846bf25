/* Command: how every command for people begins and ends.
 *
 * One clear line on stderr for an error (`whalesong: CODE: message (mend)`), exit status 1, or 2 for wrong usage.
 * Ctrl-C aborts the command's signal, so that it can close what it opened; a second one ends the process at once.
 * A reader of our output that goes away (`| head`) is no error: the process ends quietly. */

import { once, setMaxListeners } from "node:events";

import { type Command, type CommanderError, InvalidArgumentError } from "commander";

import { type ErrorCode, WhalesongError } from "../../protocol/errors.ts";

/** What the caller typed cannot be done, whatever the broker says: exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A failure with its own code, for what the broker does not answer: `unreachable`, `incomplete`, … */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code: string;
  readonly mend: string | undefined;

  constructor(code: string, message: string, options: { mend?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.mend = options.mend;
  }
}

const mends: Partial<Record<ErrorCode, string>> = {
  unauthenticated:
    "a broker with a secret takes --token, which `whalesong token` makes from that secret; one in open mode takes --user alone",
  forbidden:
    "leave out --user to act as the token's own; or use a token with the scope it needs: `whalesong token --scope`",
  cursor_too_old: "start again with --from earliest or --from live",
  epoch_mismatch:
    "start again without --from, which goes on where this device was; or with --from earliest or --from live",
  cursor_in_future: "start again with --from live",
  unavailable: "try again in a moment, or ask who runs the broker",
  internal: "the broker's log says more",
};

/** What went wrong, in one line: code, message and, where one is known, the mend. */
export function describeError(error: unknown): string {
  if (error instanceof WhalesongError) {
    const { retryAfterMs } = error.details;
    const mend = retryAfterMs === undefined ? mends[error.code] : `try again in ${retryAfterMs} ms`;
    return oneLine(error.code, error.message, mend);
  }
  if (error instanceof CommandError) return oneLine(error.code, error.message, error.mend);
  if (error instanceof UsageError) return oneLine("usage", error.message, "see --help");
  if (!(error instanceof Error)) return oneLine("error", String(error), undefined);
  const code = (error as NodeJS.ErrnoException).code;
  return oneLine(typeof code === "string" ? code : "error", error.message, undefined);
}

function oneLine(code: string, message: string, mend: string | undefined): string {
  const text = `whalesong: ${code}: ${message}${mend === undefined ? "" : ` (${mend})`}`;
  return text.replaceAll(/\s*\n\s*/g, "; ");
}

/** Runs a command to its end and sets the exit status: what `run` returns, or 0.
 * @param options.interrupted the status when Ctrl-C ended it; for a command that lives until then it is 0. @default 130 */
export async function runCommand(
  run: (signal: AbortSignal) => Promise<number | void>,
  options: { interrupted?: number } = {},
): Promise<void> {
  const interrupted = options.interrupted ?? 130;
  const controller = new AbortController();
  // A replay hangs thousands of streams on this one signal.
  setMaxListeners(0, controller.signal);
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(interrupted);
    controller.abort();
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  process.stdout.on("error", endQuietly);
  try {
    const status = await run(controller.signal);
    process.exitCode = controller.signal.aborted ? interrupted : (status ?? 0);
  } catch (error) {
    if (controller.signal.aborted) {
      process.exitCode = interrupted;
    } else {
      process.stderr.write(`${describeError(error)}\n`);
      process.exitCode = error instanceof UsageError ? 2 : 1;
    }
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

function endQuietly(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE") process.exit(0);
  process.stderr.write(`whalesong: ${error.code ?? "error"}: standard output: ${error.message}\n`);
  process.exit(1);
}

/** Writes to standard output and waits while its reader is behind. */
export async function print(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, "drain");
}

/** Makes a command's wrong usage (unknown option, missing argument) exit with status 2; `--help` still exits with 0. */
export function exitTwoOnUsage(command: Command): Command {
  return command.exitOverride((error: CommanderError) => process.exit(error.exitCode === 0 ? 0 : 2));
}

/** A parser of an option that takes a whole number; commander reports what it throws as wrong usage. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < least || value > most || text.trim() === "") {
      throw new InvalidArgumentError(`A whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

/** A parser of an option that can be given many times. */
export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}
