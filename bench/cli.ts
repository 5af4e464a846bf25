/* The load harness as a command: `npm run bench -- WORKLOAD`, or `whalesong bench WORKLOAD`.
 *
 *   workload ──rounds──> rows ──> one table; JSON and a page with plots where asked for
 *
 * The broker and every load run in processes of their own. Progress goes to standard error, the table to standard output. */

import { Command } from "commander";

import { exitTwoOnUsage } from "../clients/cli/command.ts";
import { clusterCommand } from "./commands/cluster.ts";
import { graphCommand } from "./commands/graph.ts";
import { idleCommand } from "./commands/idle.ts";
import { ingestCommand } from "./commands/ingest.ts";
import { mentionsCommand } from "./commands/mentions.ts";
import { reconnectCommand } from "./commands/reconnect.ts";
import { rollingCommand } from "./commands/rolling.ts";
import { shoalCommand } from "./commands/shoal.ts";
import { slowCommand } from "./commands/slow.ts";
import { soakCommand } from "./commands/soak.ts";
import { whaleCommand } from "./commands/whale.ts";
import { Interrupted, note } from "./commands/with-run.ts";
import { registerWorkload } from "./commands/workload-command.ts";
import { registerCore } from "./core/command.ts";
import { peersCommand } from "./peers/command.ts";
import { registerCompare } from "./report/command.ts";

/** Runs one command line. @param caller what was typed before `args`: "npm run bench --" */
export async function runBench(args: readonly string[], caller: string): Promise<void> {
  const invocation = [caller, ...withoutSecrets(args).map(quoted)].join(" ");
  const program = exitTwoOnUsage(new Command(caller))
    .description(
      "Measures whalesong, or a broker that runs already. Broker and loads run in processes of their own.",
    )
    .option("--compare <files...>", "two results beside each other, as the command compare")
    .showHelpAfterError("(--help, or WORKLOAD --help, says more)")
    .addHelpText(
      "after",
      `
Examples:
  $ ${caller} whale --online 1000,10000           our own broker, started for it
  $ ${caller} shoal --url ws://127.0.0.1:5252     one that runs; --token where it asks for one
  $ ${caller} whale --json before.json            … a change … --json after.json
  $ ${caller} compare before.json after.json --html both.html

In a checkout run \`npm run build\` first, so that what is measured is what is shipped.`,
    );
  registerWorkload(program, whaleCommand, invocation);
  registerWorkload(program, shoalCommand, invocation);
  registerWorkload(program, graphCommand, invocation);
  registerWorkload(program, mentionsCommand, invocation);
  registerWorkload(program, ingestCommand, invocation);
  registerWorkload(program, reconnectCommand, invocation);
  registerWorkload(program, slowCommand, invocation);
  registerWorkload(program, idleCommand, invocation);
  registerWorkload(program, soakCommand, invocation);
  registerWorkload(program, clusterCommand, invocation);
  registerWorkload(program, rollingCommand, invocation);
  registerWorkload(program, peersCommand, invocation);
  registerCore(program, invocation);
  registerCompare(program);
  try {
    await program.parseAsync(withoutCompareFlag(args), { from: "user" });
  } catch (error) {
    note(`bench: ${(error as Error).message}`);
    process.exitCode = error instanceof Interrupted ? 130 : 1;
  }
}

/** `--compare a.json b.json`, wherever it stands, is the command `compare`. */
function withoutCompareFlag(args: readonly string[]): string[] {
  const others = args.filter((arg) => arg !== "--compare");
  return others.length === args.length ? others : ["compare", ...others];
}

/** A result is kept and shown: the token that was typed is not. */
function withoutSecrets(args: readonly string[]): string[] {
  return args.map((arg, i) => {
    if (args[i - 1] === "--token") return "…";
    return arg.startsWith("--token=") ? "--token=…" : arg;
  });
}

/** As a shell takes it. */
function quoted(arg: string): string {
  return /[\s"'$]/.test(arg) ? `'${arg.replaceAll("'", "'\\''")}'` : arg;
}
