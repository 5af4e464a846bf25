/* Server: a program that listens on a port of 127.0.0.1, from its start to its end.
 *
 *   free port ──> prepare ──> started ──lets a publisher in──> ready ──stop──> gone, with all that it started
 *
 * Its output is kept for whoever must tell why it did not start. */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { Connection } from "../load/connection.ts";
import type { Address, Dialect, DialectRef } from "../load/dialect.ts";
import { openFileLimit } from "../machine.ts";
import { processTree, spawnPinned } from "./processes.ts";
import type { Running } from "./target.ts";

export interface Launch {
  file: string;
  args: string[];
  /** Runs under Node.js with --expose-gc and collects garbage on SIGUSR2. */
  collectsGarbage?: boolean;
}

export interface ServerOptions {
  name: string;
  /** Makes what the program needs to listen on `port`. */
  prepare: (port: number) => Launch;
  /** How it is spoken to: it is ready once it lets a publisher in. */
  dialect: (address: Address) => Dialect;
  cores: readonly number[] | undefined;
  signal: AbortSignal;
}

export interface Server {
  readonly address: Address;
  /** All of a target but how to speak to it. */
  asTarget(dialect: (run: string) => DialectRef): Running;
  /** Ends it, by force if it does not end by itself. */
  stop(): Promise<void>;
}

/** Files that a server has open beside its connections. */
const otherFiles = 128;
const host = "127.0.0.1";
const readyTimeoutMs = 15_000;
const betweenTriesMs = 20;
const stopTimeoutMs = 5_000;
/** How long a forced collection of garbage is given. */
const garbageMs = 500;
/** Characters kept of what it says. */
const keptOutput = 2_000;

/** @throws what it said, when it ends or does not listen in time */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { name, prepare, dialect: speak, cores, signal } = options;
  signal.throwIfAborted();
  const port = await freePort();
  const address: Address = { host, port };
  const { file, args, collectsGarbage = false } = prepare(port);
  // Its input is a pipe that ends with this process: the programs of ours end with it.
  const child = spawnPinned(file, args, { cores, stdio: ["pipe", "pipe", "pipe"] });
  const output = keepOutput(child);
  const exit = new Promise<void>((resolve) => {
    child.once("exit", () => resolve()).once("error", () => resolve());
  });
  const kill = (): void => killTree(child);
  signal.addEventListener("abort", kill, { once: true });
  const stop = async (): Promise<void> => {
    signal.removeEventListener("abort", kill);
    await end(child, exit);
  };
  try {
    await untilReady({ name, child, output, dialect: speak(address) });
  } catch (error) {
    kill();
    await stop();
    throw error;
  }
  const pid = child.pid!;
  const collectGarbage = async (): Promise<void> => {
    process.kill(pid, "SIGUSR2");
    await sleep(garbageMs);
  };
  return {
    address,
    asTarget: (dialect) => ({
      mostReaders: openFileLimit() - otherFiles,
      dialect,
      pids: () => [pid],
      stop,
      ...(collectsGarbage ? { collectGarbage } : {}),
    }),
    stop,
  };
}

/** A port that was free just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Reads what it says to the last, and keeps the end of it. */
function keepOutput(child: ChildProcess): () => string {
  let kept = "";
  const keep = (text: string): void => {
    kept = (kept + text).slice(-keptOutput);
  };
  child.stdout?.setEncoding("utf8").on("data", keep);
  child.stderr?.setEncoding("utf8").on("data", keep);
  child.on("error", (error) => keep(error.message));
  return () => kept.trim();
}

interface Starting {
  name: string;
  child: ChildProcess;
  output: () => string;
  dialect: Dialect;
}

async function untilReady({ name, child, output, dialect }: Starting): Promise<void> {
  const deadlineMs = performance.now() + readyTimeoutMs;
  const said = (): string => (output() === "" ? "it said nothing" : `it said:\n${output()}`);
  for (;;) {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
      throw new Error(`${name} ended before it was ready; ${said()}`);
    try {
      await letIn(dialect, Math.max(1, deadlineMs - performance.now()));
      return;
    } catch (error) {
      if (performance.now() > deadlineMs)
        throw new Error(`${name} was not ready within ${readyTimeoutMs / 1_000} s; ${said()}`, {
          cause: error,
        });
      await sleep(betweenTriesMs);
    }
  }
}

/** Settles when a publisher has been let in. */
async function letIn(dialect: Dialect, timeoutMs: number): Promise<void> {
  let connection: Connection | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((onReady, onEnd) => {
      timer = setTimeout(() => onEnd(new Error("no answer")), timeoutMs);
      const script = dialect.publisher(0);
      connection = new Connection({ address: dialect.address, script, payloadBytes: 1, onReady, onEnd });
    });
  } finally {
    clearTimeout(timer);
    connection?.close();
  }
}

async function end(child: ChildProcess, exit: Promise<void>): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const timer = setTimeout(() => killTree(child), stopTimeoutMs);
  await exit;
  clearTimeout(timer);
}

/** A program that is killed cannot end what it has started. */
function killTree(child: ChildProcess): void {
  if (child.pid === undefined) return;
  for (const pid of [...processTree([child.pid]), child.pid]) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // gone already
    }
  }
}
