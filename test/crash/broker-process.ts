/* BrokerProcess: the real broker in a process of its own, to be killed. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

import { fromSource, nodeArgs } from "../program.ts";
import { workers } from "../workers/count.ts";

/** How a broker's process is started, where that is not the usual way. */
export interface Launch {
  /** Another broker's `main.ts` than that of these sources. */
  main?: string;
  /** The command that runs it, such as `ip netns exec NAME`. */
  by?: readonly string[];
  /** Takes what it logs. Without it that goes where the test's own errors go. */
  onLog?: (text: string) => void;
}

export class BrokerProcess {
  readonly url: string;
  readonly #child: ChildProcess;
  #exit: Promise<unknown>;

  static start(folder: string, ...flags: string[]): Promise<BrokerProcess> {
    return BrokerProcess.launch(["--data", folder, "--port", "0", "--log-level", "warn", ...flags]);
  }

  /** Starts `serve` with these flags; settles once it listens. */
  static async launch(
    flags: readonly string[],
    { main, by = [], onLog }: Launch = {},
  ): Promise<BrokerProcess> {
    const node = main === undefined ? nodeArgs("broker/main") : fromSource(main);
    const serve = ["serve", "--workers", String(workers), "--metrics-share", "0ms", ...flags];
    const [program, ...args] = [...by, process.execPath, ...node, ...serve];
    const child = spawn(program!, args, {
      stdio: ["ignore", "pipe", onLog === undefined ? "inherit" : "pipe"],
    });
    child.stderr?.on("data", (data: Buffer) => onLog?.(data.toString()));
    const exit = once(child, "exit");
    let output = "";
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout!.on("data", (data: Buffer) => {
        output += data.toString();
        const match = /listens on (http:\S+)/.exec(output);
        if (match !== null) resolve(match[1]!);
      });
      exit.then(() => reject(new Error(`the broker ended before it listened: ${output}`)), reject);
    });
    return new BrokerProcess(child, url, exit);
  }

  private constructor(child: ChildProcess, url: string, exit: Promise<unknown>) {
    this.#child = child;
    this.url = url;
    this.#exit = exit;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** SIGKILL: no handler runs, nothing is flushed. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exit;
  }

  /** SIGTERM: it lets go gracefully. */
  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#exit;
  }

  /** SIGSTOP: it holds its connections and does nothing, until `resume`. */
  pause(): void {
    this.#child.kill("SIGSTOP");
  }

  /** SIGCONT. */
  resume(): void {
    this.#child.kill("SIGCONT");
  }
}
