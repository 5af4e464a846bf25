/* replay: real interactions as a load, and a proof.
 *
 *   read the file ─► follow graph ─► subscribers go live ─► publish in order ─► wait for the head ─► compare
 *
 * Each subscriber's streams are compared with what they should have held, worked out here from the answers to the
 * publishes and the follow graph, without the broker's help. */

import type { Command } from "commander";

import { limits } from "../../../protocol/limits.ts";
import { exitTwoOnUsage, runCommand, wholeNumber } from "../command.ts";
import { type ConnectionOptions, withConnection } from "../connection.ts";

export interface ReplayOptions extends ConnectionOptions {
  speed: number | "max";
  subscribers: number;
  mostMentioned: number;
  seed?: number;
  limit?: number;
  concurrency: number;
  textBytes: number;
  prefix?: string;
  json?: true;
}

export function registerReplay(program: Command): void {
  const command = program
    .command("replay")
    .summary("replay a file of interactions, check every delivery")
    .description(
      "Replays real interactions: makes the follow graph from them, publishes them in order, and checks what live " +
        "subscribers received against its own count. Exit status 1 when anything is missing, repeated, out of " +
        "order or unexpected. Use a broker that nobody else publishes to meanwhile; with a token, one of the " +
        "scopes read, write and backend.",
    )
    .argument(
      "<file>",
      "lines of `userA userB unixSeconds kind`; plain or gzip; lines that begin with # are comments",
    )
    .option("--speed <n>", "times real time, or max", parseSpeed, "max")
    .option("--subscribers <n>", "live subscribers, chosen at random", wholeNumber(0, 1_000_000), 100)
    .option("--most-mentioned <n>", "and the most mentioned users", wholeNumber(0, 1_000_000), 10)
    .option("--seed <n>", "choose the same subscribers again", wholeNumber(0, 2 ** 32 - 1))
    .option("--limit <lines>", "only the first lines of the file", wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option("--concurrency <n>", "publishes unanswered at once", wholeNumber(1, limits.inFlight), 512)
    .option("--text-bytes <n>", "pad each text to so many bytes", wholeNumber(0, limits.textBytes), 100)
    .option("--prefix <text>", "put before every handle, to replay a file into the same broker again")
    .option("--json", "the report as JSON")
    .addHelpText(
      "after",
      `
Kinds: RT, A reposts B's latest post; MT, A mentions B; RE, A replies to B's latest post. Whoever did so follows B.

Examples:
  $ whalesong replay interactions.txt.gz --subscribers 2000
  $ whalesong replay interactions.txt --limit 10000 --speed 60`,
    )
    .action((file: string, options: ReplayOptions) =>
      runCommand(async (signal) => {
        const { replay } = await import("./replay.ts");
        return await replay(file, options, signal);
      }),
    );
  exitTwoOnUsage(withConnection(command));
}

function parseSpeed(text: string): number | "max" {
  return text === "max" ? "max" : wholeNumber(1, 1_000_000_000)(text);
}
