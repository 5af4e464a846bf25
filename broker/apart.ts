/* Apart: a command that reads a store which a running broker may have open, run where its process id is not that of another reader.
 *
 * In another container on the same volume this process may have the id of the broker or of a worker there, and LMDB would take them for
 * one (state/reader-id.ts). The process id 1 is the one that a broker is most likely to have. In such a place the command runs as a child of
 * this process, which has another id. */

import { spawn } from "node:child_process";

import { ReaderIdError } from "./state/reader-id.ts";

/** How often a child is tried. Each has another id. */
const attempts = 10;
const attemptVariable = "WHALESONG_READER_ATTEMPT";

/** Runs `work`, here or, as the same command, in a child whose exit status becomes this process'. @throws what `work` throws */
export async function readApart(work: () => Promise<void>): Promise<void> {
  const attempt = Number(process.env[attemptVariable] ?? 0);
  if (process.pid === 1) return await runAgain(attempt + 1);
  try {
    await work();
  } catch (error) {
    if (!(error instanceof ReaderIdError) || attempt >= attempts) throw error;
    await runAgain(attempt + 1);
  }
}

async function runAgain(attempt: number): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...process.env, [attemptVariable]: String(attempt) },
  });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of signals) process.on(signal, pass);
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (status) => resolve(status ?? 1));
  });
  for (const signal of signals) process.off(signal, pass);
}
