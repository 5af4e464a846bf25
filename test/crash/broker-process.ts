/* BrokerProcess: the real broker in a process of its own, to be killed. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { workers } from "../workers/count.ts";

const main = fileURLToPath(new URL("../../broker/main.ts", import.meta.url));

export class BrokerProcess {
  readonly url: string;
  readonly #child: ChildProcess;
  #exit: Promise<unknown>;

  static async start(folder: string, ...flags: string[]): Promise<BrokerProcess> {
    const serve = ["serve", "--data", folder, "--port", "0", "--log-level", "warn"];
    serve.push("--workers", String(workers), ...flags);
    const child = spawn(process.execPath, ["--import=tsx", main, ...serve], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exit = once(child, "exit");
    let output = "";
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout.on("data", (data: Buffer) => {
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
}
