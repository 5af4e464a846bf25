/* SmallDisk: a disk of a few MiB, to be full at will. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, rmdirSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Test } from "tap";

export class SmallDisk {
  readonly folder: string;

  /** Undefined where one may not be mounted. Gone when the test ends. */
  static mount(t: Test, bytes: number): SmallDisk | undefined {
    const folder = mkdtempSync(join(tmpdir(), "whalesong-disk-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder], { stdio: "ignore" });
    } catch {
      rmdirSync(folder);
      return undefined;
    }
    t.teardown(() => {
      execFileSync("umount", ["--lazy", folder]);
      rmdirSync(folder);
    });
    return new SmallDisk(folder);
  }

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Leaves so many bytes free, or a page less. */
  fill(leftBytes: number): void {
    const { bavail, bsize } = statfsSync(this.folder);
    writeFileSync(this.#ballast, Buffer.alloc(Math.max(0, bavail * bsize - leftBytes)));
  }

  /** Gives back what `fill` took. */
  relieve(): void {
    rmSync(this.#ballast);
  }

  get #ballast(): string {
    return join(this.folder, "ballast");
  }
}
