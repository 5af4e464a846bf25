/* `bench core`: the figures that a broker standing alone has to hold, each beside its target. */

import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

import { type Command, InvalidArgumentError } from "commander";

import { packageVersion } from "../../broker/version.ts";
import { note, parseScale, quickScale, withRun } from "../commands/with-run.ts";
import { isCompiled } from "../built.ts";
import type { Figure } from "../figure.ts";
import { describeMachine } from "../machine.ts";
import { coreParts } from "./index.ts";
import { type Report, renderReport, resultOf } from "./report.ts";

interface CoreOptions {
  only?: string[];
  scale: number;
  quick?: boolean;
  json?: string;
  data: string;
  profiles?: string;
}

export function registerCore(program: Command, invocation: string): void {
  program
    .command("core")
    .description("the figures that a broker standing alone has to hold, each with its target")
    .option("--only <parts>", `some of ${Object.keys(coreParts).join(",")} (default: all)`, parseParts)
    .option("--quick", "a tenth of every size: shows that the harness works, and little of the broker")
    .option("--scale <part>", "this part of every size, from 0.001 to 1", parseScale, 1)
    .option("--json <file>", "write the result as JSON, too")
    .option("--data <folder>", "where data folders are made for the run: the disk that is measured", tmpdir())
    .option("--profiles <folder>", "write a CPU profile of each broker there; slows it down a little")
    .action((options: CoreOptions) => runCore(options, invocation));
}

async function runCore({ quick, ...given }: CoreOptions, invocation: string): Promise<void> {
  const options = quick === true ? { ...given, scale: quickScale } : given;
  if (!isCompiled)
    note(
      "dist/ is missing or older than the sources: they run as they are. `npm run build` first for figures.",
    );
  const at = new Date();
  mkdirSync(options.data, { recursive: true });
  const machine = describeMachine(options.data);
  const figures = await measure(options);
  const report: Report = {
    command: invocation,
    at: at.toISOString(),
    version: packageVersion(),
    seconds: (Date.now() - at.getTime()) / 1_000,
    machine,
    scale: options.scale,
    figures,
  };
  console.log(`\n${renderReport(report)}`);
  if (options.json !== undefined)
    writeFileSync(options.json, `${JSON.stringify(resultOf(report), null, 2)}\n`);
}

/** Runs the parts one after the other, each with a folder and processes of its own that go with it. */
async function measure(options: Omit<CoreOptions, "quick">): Promise<Figure[]> {
  const { only = Object.keys(coreParts), scale, data, profiles } = options;
  const figures: Figure[] = [];
  for (const part of only) {
    figures.push(...(await withRun({ scale, data, profiles, pinning: undefined }, coreParts[part]!)));
  }
  return figures;
}

function parseParts(text: string): string[] {
  const parts = text.split(",");
  const unknown = parts.find((part) => !Object.hasOwn(coreParts, part));
  if (unknown === undefined) return parts;
  throw new InvalidArgumentError(`there is no ${unknown}; there are ${Object.keys(coreParts).join(", ")}.`);
}
