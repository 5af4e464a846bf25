/* Children: the processes that the harness starts, asks and ends.
 *
 * The broker and every load have a process of their own, so that none of them measures another's work. */

import { type ChildProcess, fork } from "node:child_process";

import type { Ask, Handlers, Progress, Reply } from "./asks.ts";
import { locate } from "./built.ts";

/** The longest an ask may take, in ms: a run that hangs ends, and says where. */
const askTimeoutMs = 600_000;
/** How long a child that is told to end may take before it is killed, in ms. */
const endTimeoutMs = 5_000;

export class Child<H extends Handlers> {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #exit: Promise<void>;
  readonly #waiting = new Map<
    number,
    { resolve: (answer: unknown) => void; reject: (error: Error) => void; progress: Progress | undefined }
  >();
  #lastId = 0;

  /** Starts `script`, a path below bench/ without its ending. */
  constructor(script: string, nodeOptions: readonly string[] = []) {
    this.name = script;
    const { file, loader } = locate(`bench/${script}`);
    this.#process = fork(file, { execArgv: [...loader, ...nodeOptions], serialization: "advanced" });
    this.#process.on("message", (reply: Reply) => this.#take(reply));
    this.#process.on("error", (error) => this.#fail(error));
    this.#exit = new Promise((resolve) => {
      this.#process.on("exit", (status, signal) => {
        this.#fail(new Error(`${script} ended (${signal ?? `status ${status}`})`));
        resolve();
      });
    });
  }

  get pid(): number {
    const { pid } = this.#process;
    if (pid === undefined) throw new Error(`${this.name} has not started`);
    return pid;
  }

  /** Asks and waits for the answer. @throws the child's error, or that it ended or takes too long */
  ask<K extends keyof H & string>(
    name: K,
    argument: Parameters<H[K]>[0],
    progress?: Progress,
  ): Promise<Awaited<ReturnType<H[K]>>> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.name}: ${name} took more than ${askTimeoutMs / 1_000} s`)),
        askTimeoutMs,
      );
      this.#waiting.set(id, {
        resolve: (answer) => {
          clearTimeout(timer);
          resolve(answer as Awaited<ReturnType<H[K]>>);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
        progress,
      });
      const message: Ask = { id, ask: name, argument };
      this.#process.send(message, (error) => {
        if (error !== null) this.#take({ id, error: `${this.name} cannot be asked: ${error.message}` });
      });
    });
  }

  /** Ends the process, by force if it does not end by itself. */
  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    if (this.#process.connected) this.#process.disconnect();
    const timer = setTimeout(() => this.kill(), endTimeoutMs);
    await this.#exit;
    clearTimeout(timer);
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  #take(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id);
    if (waiting === undefined) return;
    if ("progress" in reply) {
      waiting.progress?.(reply.progress);
      return;
    }
    this.#waiting.delete(reply.id);
    if ("error" in reply) waiting.reject(errorOf(reply, this.name));
    else waiting.resolve(reply.answer);
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** The child's error, with the place in the child where it was thrown. */
function errorOf(
  { error: message, stack }: { error: string; stack?: string | undefined },
  child: string,
): Error {
  const error = new Error(message);
  if (stack !== undefined) error.stack = `${child}: ${stack}`;
  return error;
}
