/* The harness as its users run it, for tests. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";

import { loadResult } from "../../bench/report/load.ts";
import type { Row, RunResult } from "../../bench/report/result.ts";
import { nodeArgs } from "../program.ts";

export interface Ended {
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs the harness to its end. */
export async function bench(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [...nodeArgs("bench/main"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [status] = (await once(child, "close")) as [number];
  return { status, stdout, stderr };
}

/** Runs a workload; its result, checked against the format, and what was printed. */
export async function measure(
  folder: string,
  workload: string,
  ...args: string[]
): Promise<Ended & { result: RunResult; json: string }> {
  const file = join(folder, `${workload}.json`);
  const ended = await bench(workload, ...args, "--json", file, "--data", folder);
  if (ended.status !== 0) throw new Error(`bench ${workload}: ${ended.stderr}`);
  return { ...ended, result: loadResult(file), json: readFileSync(file, "utf8") };
}

/** What each row has, whatever the workload. */
export function checkRow(t: Test, row: Row, workload: string): void {
  t.equal(row.workload, workload);
  t.match(row.target, /^whalesong \d/, "the broker says its version");
  t.ok(row.seconds > 0);
  t.ok(row.load.processes >= 1 && row.load.cpuShare >= 0);
  if (row.latency !== undefined) {
    const { p50, p90, p99, p999, max, count, curve } = row.latency;
    t.ok(count > 0);
    t.ok(0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max, `${row.name}: quantiles ascend`);
    t.strictSame(
      curve.map(([, ms]) => ms),
      curve.map(([, ms]) => ms).toSorted((a, b) => a - b),
      "the curve ascends",
    );
  }
}
