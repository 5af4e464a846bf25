/* The load harness: `npm run bench -- WORKLOAD`.
 *
 *   workload ──parts──> figures ──> one table, and JSON
 *
 * The broker and every load run in processes of their own. Progress goes to standard error, the report to standard output. */

import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Command, InvalidArgumentError } from "commander";

import { packageVersion } from "../broker/version.ts";
import { isCompiled } from "./children.ts";
import { coreParts } from "./core/index.ts";
import type { Figure } from "./figure.ts";
import { describeMachine } from "./machine.ts";
import { type Report, renderReport } from "./report.ts";
import { Run } from "./run.ts";

interface CoreOptions {
  only?: string[];
  scale: number;
  quick?: boolean;
  json?: string;
  data: string;
  profiles?: string;
}

/** Ctrl-C, or a SIGTERM. */
class Interrupted extends Error {}

/** What `--quick` measures of every size. */
const quickScale = 0.1;

const program = new Command("bench")
  .description("Measures whalesong. The broker and the loads run in processes of their own.")
  .showHelpAfterError("(bench --help, or bench WORKLOAD --help, says more)");

program
  .command("core")
  .description("the figures that a broker standing alone has to hold, each with its target")
  .option("--only <parts>", `some of ${Object.keys(coreParts).join(",")} (default: all)`, parseParts)
  .option("--quick", "a tenth of every size: shows that the harness works, and little of the broker")
  .option("--scale <part>", "this part of every size, from 0.001 to 1", parseScale, 1)
  .option("--json <file>", "write the report as JSON, too")
  .option("--data <folder>", "where data folders are made for the run: the disk that is measured", tmpdir())
  .option("--profiles <folder>", "write a CPU profile of each broker there; slows it down a little")
  .addHelpText("after", "\nRun `npm run build` first, so that what is measured is what is shipped.")
  .action(runCore);

try {
  await program.parseAsync();
} catch (error) {
  note(`bench: ${(error as Error).message}`);
  process.exitCode = error instanceof Interrupted ? 130 : 1;
}

async function runCore({ quick, ...given }: CoreOptions): Promise<void> {
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
    command: `npm run bench -- ${process.argv.slice(2).join(" ")}`,
    at: at.toISOString(),
    version: packageVersion(),
    seconds: (Date.now() - at.getTime()) / 1_000,
    machine,
    scale: options.scale,
    figures,
  };
  console.log(`\n${renderReport(report)}`);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
}

/** Runs the parts one after the other, each with a folder and processes of its own that go with it. */
async function measure({
  only = Object.keys(coreParts),
  scale,
  data,
  profiles,
}: Omit<CoreOptions, "quick">): Promise<Figure[]> {
  const controller = new AbortController();
  const figures: Figure[] = [];
  for (const part of only) {
    const folder = mkdtempSync(join(data, "whalesong-bench-"));
    const run = new Run({ folder, scale, profiles, signal: controller.signal });
    const interrupt = (): void => {
      controller.abort(new Interrupted("interrupted"));
      run.kill();
    };
    process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
    try {
      figures.push(...(await coreParts[part]!(run)));
    } catch (error) {
      controller.signal.throwIfAborted(); // that its processes are gone is not the news
      throw error;
    } finally {
      process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
      await run.release();
    }
  }
  return figures;
}

function parseParts(text: string): string[] {
  const parts = text.split(",");
  const unknown = parts.find((part) => !Object.hasOwn(coreParts, part));
  if (unknown === undefined) return parts;
  throw new InvalidArgumentError(`there is no ${unknown}; there are ${Object.keys(coreParts).join(", ")}.`);
}

function parseScale(text: string): number {
  const scale = Number(text);
  if (scale >= 0.001 && scale <= 1) return scale;
  throw new InvalidArgumentError("a number from 0.001 to 1.");
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
