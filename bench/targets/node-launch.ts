/* Node launch: how servers of the harness that run on Node.js are found and started. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { locate } from "../built.ts";
import type { Launch } from "./server.ts";

/** Runs a script, named by its path without its ending, with its arguments. */
export function nodeLaunch(script: string, ...args: (string | number)[]): Launch {
  const { file, loader } = locate(script);
  return {
    file: process.execPath,
    args: [...loader, "--expose-gc", file, ...args.map(String)],
    collectsGarbage: true,
  };
}

/** The version of an npm package; undefined where it is not installed. */
export function packageVersionOf(name: string): string | undefined {
  try {
    const file = fileURLToPath(import.meta.resolve(`${name}/package.json`));
    return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
  } catch {
    return undefined;
  }
}
