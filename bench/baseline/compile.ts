/* Compile: send-loop.c to a program, with whatever C compiler there is. It takes a fifth of a second, so nothing is kept. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { askProgram, findProgram } from "../targets/programs.ts";

export interface Compiler {
  path: string;
  /** "gcc 12.2.0". */
  version: string;
}

const names = ["cc", "gcc", "clang"];
const flags = ["-O2", "-std=c11"];

/** The source stands beside this file, or, when this is compiled, where it was compiled from. */
const source = ["send-loop.c", "../../../bench/baseline/send-loop.c"]
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((path) => existsSync(path));

/** Undefined where there is no compiler, or nothing to compile. */
export function findCompiler(): Compiler | undefined {
  if (source === undefined) return undefined;
  for (const name of names) {
    const path = findProgram(name);
    const said = askProgram(name, ["--version"], /^(.*\d+\.\d+.*)$/m);
    if (path !== undefined && said !== undefined) return { path, version: versionIn(name, said) };
  }
  return undefined;
}

/** Answers the program's path, in `folder`. @throws what the compiler said */
export function compileSendLoop({ path }: Compiler, folder: string): string {
  const program = join(folder, "send-loop");
  const { status, stderr } = spawnSync(path, [...flags, "-o", program, source!], { encoding: "utf8" });
  if (status === 0) return program;
  throw new Error(`${path} could not compile ${source}:\n${stderr}`);
}

/** From "cc (Debian 12.2.0-14) 12.2.0" or "Debian clang version 14.0.6". */
function versionIn(name: string, said: string): string {
  const kind = said.includes("clang") ? "clang" : /gcc|GCC|\(/.test(said) ? "gcc" : name;
  return `${kind} ${/(\d+\.\d+(?:\.\d+)?)\s*$/.exec(said)?.[1] ?? /\d+\.\d+(?:\.\d+)?/.exec(said)?.[0] ?? ""}`.trim();
}
