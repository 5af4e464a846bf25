/* A command's run: a folder and processes that go when it ends, by itself or by Ctrl-C. */

import { mkdirSync, mkdtempSync } from "node:fs";
import { join } from "node:path";

import { InvalidArgumentError } from "commander";

import type { Pinning } from "../pinning.ts";
import { Run } from "../run.ts";

/** Ctrl-C, or a SIGTERM. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** What `--quick` measures of every size. */
export const quickScale = 0.1;

export interface RunSettings {
  scale: number;
  /** Where its folder is made. */
  data: string;
  profiles: string | undefined;
  pinning: Pinning | undefined;
}

export async function withRun<T>(settings: RunSettings, work: (run: Run) => Promise<T>): Promise<T> {
  const { data, ...options } = settings;
  mkdirSync(data, { recursive: true });
  const folder = mkdtempSync(join(data, "whalesong-bench-"));
  const controller = new AbortController();
  const run = new Run({ ...options, folder, signal: controller.signal });
  const interrupt = (): void => {
    controller.abort(new Interrupted("interrupted"));
    run.kill();
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  try {
    return await work(run);
  } catch (error) {
    controller.signal.throwIfAborted(); // that its processes are gone is not the news
    throw error;
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    await run.release();
  }
}

export function parseScale(text: string): number {
  const scale = Number(text);
  if (scale >= 0.001 && scale <= 1) return scale;
  throw new InvalidArgumentError("a number from 0.001 to 1.");
}

/** For people, on standard error. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
