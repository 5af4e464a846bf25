/* MovedClock: the wall clock of a real process, which a test sets while it runs. By libfaketime; the process' monotonic clock and
 * the machine's uptime are left as they are, as they are when somebody sets a clock. */

import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Test } from "tap";

/** Debian has it in a folder of the machine's architecture. */
const library = readdirSync("/usr/lib")
  .map((folder) => join("/usr/lib", folder, "faketime/libfaketimeMT.so.1"))
  .find((file) => existsSync(file));

export class MovedClock {
  readonly #file: string;

  /** Why there is none to test with; undefined when there is. */
  static missing(): string | undefined {
    return library === undefined ? "libfaketime is not installed (sh test/setup/packages.sh)" : undefined;
  }

  static async for(t: Test): Promise<MovedClock> {
    const folder = await mkdtemp(join(tmpdir(), "whalesong-clock-"));
    t.teardown(() => rm(folder, { recursive: true }));
    const clock = new MovedClock(join(folder, "time"));
    await clock.set(0);
    return clock;
  }

  private constructor(file: string) {
    this.#file = file;
  }

  /** The command that runs a program with this clock. */
  get by(): readonly string[] {
    return [
      "env",
      `LD_PRELOAD=${library}`,
      `FAKETIME_TIMESTAMP_FILE=${this.#file}`,
      "FAKETIME_CACHE_DURATION=1",
      "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ];
  }

  /** From a second later on it is ahead of the true time by so many seconds, or behind. A program that starts then has it from its start. */
  async set(seconds: number): Promise<void> {
    await writeFile(`${this.#file}.next`, `${seconds < 0 ? "" : "+"}${seconds}\n`);
    await rename(`${this.#file}.next`, this.#file); // nobody reads half of it
  }
}
