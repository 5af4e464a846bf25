/* A workload as a command: its options, the broker it runs against, and what comes of it.
 *
 *     options ─► Run ─► broker of our own, or --url ─► rows ─► table on standard output, --json, --html */

import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

import { type Command, InvalidArgumentError, Option } from "commander";

import { packageVersion } from "../../broker/version.ts";
import { wholeNumber } from "../../clients/cli/command.ts";
import { isCompiled } from "../built.ts";
import { stampBytes } from "../load/stamp.ts";
import { describeMachine, openFileLimit } from "../machine.ts";
import { choosePinning, describePinning } from "../pinning.ts";
import { renderHtml } from "../report/html.ts";
import { type Row, type RunResult, resultVersion } from "../report/result.ts";
import { renderTable } from "../report/table.ts";
import type { Run } from "../run.ts";
import { External } from "../targets/external.ts";
import type { Running, Target } from "../targets/target.ts";
import { Whalesong } from "../targets/whalesong.ts";
import type { Site } from "../workloads/workload.ts";
import { note, parseScale, quickScale, withRun } from "./with-run.ts";

/** What every workload takes. */
export interface CommonOptions {
  url?: string;
  token?: string;
  serve?: string;
  deflate?: boolean;
  pin: boolean;
  loads?: number;
  seconds: number;
  payloadBytes?: number;
  scale: number;
  quick?: boolean;
  json?: string;
  html?: string;
  data: string;
  profiles?: string;
}

/** What a workload's command works with. */
export interface Bench {
  readonly run: Run;
  readonly target: Target;
  /** Load processes asked for. */
  readonly processes: number | undefined;
  readonly seconds: number;
  /** Length of texts that was asked for; each workload has its own otherwise. */
  readonly payloadBytes: number | undefined;
  /** Whether the broker is one that runs already, with others' data and for others' use. */
  readonly isExternal: boolean;
  /** Further flags of a broker of our own, and whether its readers ask for compression: for who starts several. */
  readonly flags: readonly string[];
  readonly deflate: boolean;
  /** Starts the target over a folder; an external one is there already. */
  start(folder?: string): Promise<Site>;
  /** For the result's notes: a whole sentence. */
  remark(sentence: string): void;
}

export interface WorkloadCommand<Options> {
  name: string;
  description: string;
  /** It starts several brokers, which share all cores with the load. */
  isOfSeveral?: true;
  /** Adds the options of its own. */
  configure(command: Command): Command;
  /** Lines above the table of rows, where that needs an overview. */
  summarise?(rows: readonly Row[]): string[];
  /** @param options its own */
  measure(bench: Bench, options: Options): Promise<Row[]>;
}

/** Length of a text, stamp included. */
export const defaultPayloadBytes = 200;
/** Seconds of a round with `--quick`. */
const quickSeconds = 0.5;

export function registerWorkload<Options extends object>(
  program: Command,
  workload: WorkloadCommand<Options>,
  invocation: string,
): void {
  withCommonOptions(
    workload.configure(program.command(workload.name).description(workload.description)),
  ).action((options: CommonOptions & Options) => runWorkload(workload, options, invocation));
}

function withCommonOptions(command: Command): Command {
  return command
    .addOption(new Option("--url <url>", "a running broker (default: one of our own)").env("WHALESONG_URL"))
    .addOption(
      new Option(
        "--token <jwt>",
        "with the scopes read, write and backend, where the broker asks for one",
      ).env("WHALESONG_TOKEN"),
    )
    .option("--serve <flags>", 'flags for our own broker, like "--workers 3"')
    .option(
      "--deflate",
      "readers ask for permessage-deflate, and posts are prose; our own broker compresses then",
    )
    .option("--no-pin", "server and load share all cores")
    .option("--loads <n>", "load processes (default: as many as it takes)", wholeNumber(1, 64))
    .option("--seconds <n>", "how long a round measures", positive, 5)
    .option(
      "--payload-bytes <n>",
      "length of a post's text (default: 200, of slow 4,000)",
      wholeNumber(stampBytes + 40, 16_384),
    )
    .option(
      "--quick",
      `a tenth of every size, rounds of ${quickSeconds} s: shows that it works, and little more`,
    )
    .option("--scale <part>", "this part of every size, from 0.001 to 1", parseScale, 1)
    .option("--json <file>", "write the result as JSON, too")
    .option("--html <file>", "write it as one page with plots, too")
    .option("--data <folder>", "where data folders are made for the run: the disk that is measured", tmpdir())
    .option("--profiles <folder>", "write a CPU profile of our own broker there; slows it down a little");
}

async function runWorkload<Options>(
  workload: WorkloadCommand<Options>,
  given: CommonOptions & Options,
  invocation: string,
): Promise<void> {
  const options =
    given.quick === true
      ? { ...given, scale: Math.min(given.scale, quickScale), seconds: quickSeconds }
      : given;
  const isExternal = options.url !== undefined;
  if (!isCompiled && !isExternal)
    note(
      "dist/ is missing or older than the sources: they run as they are. `npm run build` first for figures.",
    );
  const { deflate = false } = options;
  const flags = options.serve?.split(/\s+/).filter((flag) => flag !== "") ?? [];
  if (deflate && !flags.some((flag) => /^--compress\b/.test(flag))) flags.push("--compress", "yes");
  const workers = workersOf(flags);
  const canPin = options.pin && !isExternal && workers === 0 && workload.isOfSeveral !== true;
  const pinning = canPin ? choosePinning() : undefined;
  const { url, token } = options;
  const target =
    url === undefined
      ? new Whalesong({ flags, workers, deflate })
      : await External.find({ url, token, deflate });
  const at = new Date();
  mkdirSync(options.data, { recursive: true });
  const machine = describeMachine(options.data);
  const notes = [isExternal ? `The broker at ${url} ran already.` : describePinning(pinning)];
  if (options.scale < 1)
    notes.push(
      `Only ${Math.round(options.scale * 1_000) / 10} % of every size: the figures say little of the broker.`,
    );
  const rows = await withRun(
    { scale: options.scale, data: options.data, profiles: options.profiles, pinning },
    (run) =>
      workload.measure(
        {
          run,
          target,
          isExternal,
          flags,
          deflate,
          processes: options.loads,
          seconds: options.seconds,
          payloadBytes: options.payloadBytes,
          start: (folder) => startSite(run, target, folder),
          remark: (sentence) => {
            if (notes.includes(sentence)) return;
            note(sentence);
            notes.push(sentence);
          },
        },
        options,
      ),
  );
  const result: RunResult = {
    version: resultVersion,
    command: invocation,
    workload: workload.name,
    at: at.toISOString(),
    seconds: (Date.now() - at.getTime()) / 1_000,
    whalesong: packageVersion(),
    machine,
    rows,
    notes,
  };
  await tell(result, options, workload.summarise?.(rows));
}

/** Starts a target that is ended with the run at the latest. */
export async function startSite(run: Run, target: Target, folder = run.makeFolder()): Promise<Site> {
  const { signal, profiles, pinning } = run;
  const running = await target.start({ folder, cores: pinning?.server, profiles, signal });
  run.own({ end: () => running.stop(), kill: () => {} });
  return { run, target, running };
}

/** Prints the result, and writes the files that were asked for. */
export async function tell(
  result: RunResult,
  { json, html }: { json?: string; html?: string },
  overview: readonly string[] = [],
): Promise<void> {
  if (overview.length > 0) console.log(`\n${overview.join("\n")}`);
  console.log(`\n${renderTable(result)}`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(result, null, 2)}\n`);
  if (html !== undefined) writeFileSync(html, renderHtml(result));
}

/** Whether so many readers can be; else says why not. */
export function canHave(bench: Bench, running: Running, readers: number): boolean {
  if (running.mostReaders === undefined || readers <= running.mostReaders) return true;
  const limit = openFileLimit().toLocaleString("en");
  bench.remark(
    `${readers.toLocaleString("en")} online was left out: a process may open ${limit} files here. ` +
      `Raise that (ulimit -n ${readers + 256}), or give the broker workers (--serve "--workers N").`,
  );
  return false;
}

/** `1000,10000` as numbers. */
export function numbers(text: string): number[] {
  const values = text.split(",").map(Number);
  if (values.every((value) => Number.isInteger(value) && value > 0)) return values;
  throw new InvalidArgumentError("whole numbers above 0, by commas.");
}

export function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError("a number above 0.");
}

function workersOf(flags: readonly string[]): number {
  const at = flags.findIndex((flag) => flag === "--workers" || flag.startsWith("--workers="));
  if (at < 0) return 0;
  return Number(flags[at]!.includes("=") ? flags[at]!.split("=")[1] : flags[at + 1]) || 0;
}
