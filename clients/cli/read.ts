/* read: one page of a stream, back or forth. */

import type { Command } from "commander";

import { limits } from "../../protocol/limits.ts";
import { exitTwoOnUsage, print, runCommand, UsageError, wholeNumber } from "./command.ts";
import { type ConnectionOptions, openSession, withConnection } from "./connection.ts";
import { renderItem, wantsColors } from "./render.ts";

interface ReadOptions extends ConnectionOptions {
  before?: string;
  after?: string;
  limit?: number;
  json?: true;
}

export function registerRead(program: Command): void {
  const command = program
    .command("read")
    .summary("read a page of a stream")
    .description(
      "Prints one page of a stream, oldest first: the newest page, or the one before or after a cursor.",
    )
    .argument("<stream>", "home, mentions, user:HANDLE, tag:TAG, thread:POST or firehose")
    .option("--before <cursor>", "the page that ends before this cursor")
    .option("--after <cursor>", "the page that begins after this cursor")
    .option("--limit <n>", `items in the page, up to ${limits.pageItems}`, wholeNumber(1, limits.pageItems))
    .option("--json", "the answer as one line of JSON: items, before, after")
    .addHelpText(
      "after",
      `
Examples:
  $ whalesong read --user alice home
  $ whalesong read --user alice user:bob --limit 10 --json`,
    )
    .action((stream: string, options: ReadOptions) => runCommand((signal) => read(stream, options, signal)));
  exitTwoOnUsage(withConnection(command));
}

async function read(stream: string, options: ReadOptions, signal: AbortSignal): Promise<void> {
  if (options.before !== undefined && options.after !== undefined) {
    throw new UsageError("--before and --after: one of them at a time");
  }
  const session = await openSession(options, signal);
  try {
    const page = await session.read(stream, {
      ...(options.before === undefined ? {} : { before: options.before }),
      ...(options.after === undefined ? {} : { after: options.after }),
      ...(options.limit === undefined ? {} : { limit: options.limit }),
    });
    if (options.json) {
      await print(`${JSON.stringify(page)}\n`);
      return;
    }
    const colors = wantsColors(process.stdout, process.env);
    for (const item of page.items) {
      await print(`${renderItem(item, { reader: session.user, colors, nowMs: Date.now() })}\n`);
    }
    if (page.before !== undefined) process.stderr.write(`older: --before ${page.before}\n`);
    if (page.after !== undefined) process.stderr.write(`newer: --after ${page.after}\n`);
  } finally {
    await session.close();
  }
}
