/* tail: a stream as it happens.
 *
 * Resumes from the device's durable cursor, and acknowledges a line once it is written: a second tail goes on where
 * the first one ended. */

import type { Command } from "commander";

import type { StreamItem } from "../../protocol/schemas.ts";
import { exitTwoOnUsage, print, runCommand, wholeNumber } from "./command.ts";
import { type ConnectionOptions, openSession, withConnection, withDevice } from "./connection.ts";
import { renderItem, wantsColors } from "./render.ts";

interface TailOptions extends ConnectionOptions {
  from: string;
  limit?: number;
  json?: true;
}

export function registerTail(program: Command): void {
  const command = program
    .command("tail")
    .summary("watch a stream live")
    .description(
      "Shows a stream as it happens, after what you have not seen yet: it resumes where this device's last tail " +
        "ended. Says on standard error when it is live.",
    )
    .argument("[stream]", "home, mentions, user:HANDLE, tag:TAG, thread:POST or firehose", "home")
    .option("--from <where>", "resume, live, earliest or a cursor", "resume")
    .option("--limit <n>", "end after n events", wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option("--json", "one event a line, as JSON")
    .addHelpText(
      "after",
      `
Marks: ↻ a repost, ↩ a reply, @ mentions you, ✗ deleted; last comes the post's id.

Examples:
  $ whalesong tail --user alice
  $ whalesong tail --user alice user:bob --from earliest
  $ whalesong tail --user alice tag:node --json | jq .post.text`,
    )
    .action((stream: string, options: TailOptions) =>
      runCommand((signal) => tail(stream, options, signal), { interrupted: 0 }),
    );
  exitTwoOnUsage(withDevice(withConnection(command)));
}

async function tail(name: string, options: TailOptions, signal: AbortSignal): Promise<void> {
  const session = await openSession(options, signal);
  session.on("disconnect", () => {
    if (!signal.aborted) note("disconnected; coming back");
  });
  session.on("connect", ({ node }) => note(`back, on ${node} (${session.url})`));
  const show = display(session.user, options);
  try {
    let left = options.limit ?? Infinity;
    const stream = session.stream(name, { from: options.from, signal, ack: "manual" });
    for await (const event of stream) {
      if (event.event === "live") note(`live on ${name}`);
      if (event.event !== "live" && event.event !== "cursor") {
        await show(event);
        left--;
      }
      stream.ack(event.cursor);
      if (left === 0) break;
    }
  } finally {
    await session.close();
  }
}

function note(text: string): void {
  process.stderr.write(`whalesong: ${text}\n`);
}

function display(reader: string, options: TailOptions): (item: StreamItem) => Promise<void> {
  if (options.json) return (item) => print(`${JSON.stringify(item)}\n`);
  const colors = wantsColors(process.stdout, process.env);
  return (item) => print(`${renderItem(item, { reader, colors, nowMs: Date.now() })}\n`);
}
