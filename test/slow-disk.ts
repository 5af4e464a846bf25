/* SlowDisk: makes each fdatasync of a running process take long, as a disk does that has stalled. By strace, which attaches to it. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

import { findProgram } from "../bench/targets/programs.ts";

export class SlowDisk {
  readonly #strace: ChildProcess;

  /** Why there is none to test with; undefined when there is. */
  static missing(): string | undefined {
    return findProgram("strace") === undefined
      ? "strace is not installed (sh test/setup/packages.sh)"
      : undefined;
  }

  /** From when it settles until `end`, what the process `pid` brings to disk takes `delayMs` at least. */
  static async under(pid: number, delayMs: number): Promise<SlowDisk> {
    const delay = `inject=fdatasync,fsync,msync:delay_enter=${delayMs * 1_000}`;
    const strace = spawn(
      findProgram("strace")!,
      ["-f", "-p", String(pid), "-o", "/dev/null", "-e", "trace=fdatasync,fsync,msync", "-e", delay],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    let said = "";
    await new Promise<void>((resolve, reject) => {
      strace.stderr.on("data", (data: Buffer) => {
        said += data.toString();
        if (/attached/.test(said)) resolve();
      });
      strace.once("exit", () => reject(new Error(`strace ended: ${said}`)));
    });
    return new SlowDisk(strace);
  }

  private constructor(strace: ChildProcess) {
    this.#strace = strace;
  }

  /** What is under way still takes its time. */
  async end(): Promise<void> {
    if (this.#strace.exitCode !== null || this.#strace.signalCode !== null) return;
    const ended = once(this.#strace, "exit");
    this.#strace.kill("SIGTERM");
    await ended;
  }
}
