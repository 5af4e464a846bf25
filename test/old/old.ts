/* Old: the broker of 0.1.0 as a process, and its command line. */

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { BrokerProcess, type Launch } from "../crash/broker-process.ts";
import { budget } from "../pace.ts";

const oldBroker = fileURLToPath(new URL("0.1.0.mjs", import.meta.url));

/** How a test starts it in the place of the present one. Its one file holds no worker's program. */
export const oldLaunch: Launch = { main: oldBroker, workers: 0 };

/** Starts `serve` of 0.1.0 on a free port. */
export function startOld(folder: string, ...flags: string[]): Promise<BrokerProcess> {
  const place = ["--data", folder, "--port", "0", "--log-level", "warn"];
  return BrokerProcess.launch([...place, ...flags], oldLaunch);
}

/** Runs a command of 0.1.0 to its end; what it printed. @throws when it fails, or does not end, with what it said */
export async function oldWhalesong(...args: string[]): Promise<string> {
  const options = { timeout: budget(60_000) };
  const { stdout } = await promisify(execFile)(process.execPath, [oldBroker, ...args], options);
  return stdout;
}
