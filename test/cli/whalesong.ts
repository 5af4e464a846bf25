/* The command line as a process, for tests. */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { nodeArgs } from "../program.ts";

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** A command that runs. */
export class Running {
  readonly process: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Ended>;
  stdout = "";
  stderr = "";

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    const { PATH = "", HOME = "" } = process.env;
    this.process = spawn(process.execPath, [...nodeArgs("broker/main"), ...args], {
      env: { PATH, HOME, ...env },
    });
    this.process.stdout.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    this.process.stderr.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.ended = once(this.process, "close").then(([status]: (number | null)[]) => ({
      status: status ?? null,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  /** Waits until the output matches. Rejects when the command ends before. */
  async says(pattern: RegExp, stream: "stdout" | "stderr" = "stdout"): Promise<void> {
    while (!pattern.test(this[stream])) {
      const output = this.process[stream];
      const ended = this.ended.then(({ status, stderr }) => {
        if (pattern.test(this[stream])) return;
        throw new Error(`ended with status ${status} before it said ${String(pattern)}: ${stderr}`);
      });
      await Promise.race([once(output, "data"), ended]);
    }
  }
}

/** Runs a command to its end. */
export function whalesong(
  args: readonly string[],
  { env = {}, input = "" }: { env?: Record<string, string>; input?: string } = {},
): Promise<Ended> {
  const running = new Running(args, env);
  running.process.stdin.end(input);
  return running.ended;
}
