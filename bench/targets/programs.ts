/* Programs: which are installed, and what they say of themselves. */

import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";

/** Debian puts servers where only root's PATH leads. */
const serverFolders = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/** The path of a program, where it is installed. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(":"), ...serverFolders];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** The path of a program that something cannot do without. @throws that it is not installed, and how to */
export function requireProgram(name: string, wanted: { for: string; install: string }): string {
  const path = findProgram(name);
  if (path !== undefined) return path;
  throw new Error(`${wanted.for} needs ${name}, which is not installed: ${wanted.install}`);
}

/** What a program says, matched by `pattern`'s first group; undefined when it is not installed. */
export function askProgram(name: string, args: readonly string[], pattern: RegExp): string | undefined {
  const path = findProgram(name);
  if (path === undefined) return undefined;
  const { stdout, stderr } = spawnSync(path, args, { encoding: "utf8" });
  return pattern.exec(`${stdout}\n${stderr}`)?.[1];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
