/* post: publishes one post and prints its id. */

import { text as readAll } from "node:stream/consumers";

import type { Command } from "commander";

import { collect, exitTwoOnUsage, print, runCommand, UsageError } from "./command.ts";
import { type ConnectionOptions, openSession, withConnection } from "./connection.ts";

interface PostOptions extends ConnectionOptions {
  replyTo?: string;
  data?: string;
  tag?: string[];
  mention?: string[];
  key?: string;
  json?: true;
}

export function registerPost(program: Command): void {
  const command = program
    .command("post")
    .summary("publish a post, print its id")
    .description(
      "Publishes a post and prints its id. @mentions and #tags are found in the text, unless you list them.",
    )
    .argument("<text>", "what to say; - reads it from standard input")
    .option("--reply-to <id>", "the post this answers")
    .option("--data <json>", "any JSON value to attach")
    .option("--tag <tag>", "a tag, instead of those in the text; may be repeated", collect)
    .option("--mention <handle>", "whom it mentions, instead of those in the text; may be repeated", collect)
    .option("--key <key>", "makes a retry safe: the same author and key publish once")
    .option("--json", "print the whole answer: id and cursor")
    .addHelpText(
      "after",
      `
Examples:
  $ whalesong post --user alice "hello @bob #node"
  $ echo "from a pipe" | whalesong post --user alice -
  $ whalesong post --user alice --data '{"image":"https://example.org/1.png"}' "look"`,
    )
    .action((text: string, options: PostOptions) => runCommand((signal) => post(text, options, signal)));
  exitTwoOnUsage(withConnection(command));
}

async function post(text: string, options: PostOptions, signal: AbortSignal): Promise<void> {
  const fields = {
    ...(options.replyTo === undefined ? {} : { replyTo: options.replyTo }),
    ...(options.data === undefined ? {} : { data: parseData(options.data) }),
    ...(options.tag === undefined ? {} : { tags: options.tag }),
    ...(options.mention === undefined ? {} : { mentions: options.mention }),
    ...(options.key === undefined ? {} : { key: options.key }),
  };
  // The line break that ends piped text belongs to the pipe, not to the post.
  const said = text === "-" ? (await readAll(process.stdin)).replace(/\r?\n$/, "") : text;
  const session = await openSession(options, signal);
  try {
    const answer = await session.post(said, fields);
    await print(`${options.json ? JSON.stringify(answer) : answer.id}\n`);
  } finally {
    await session.close();
  }
}

function parseData(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch (cause) {
    throw new UsageError(`--data: not valid JSON: ${(cause as Error).message}`, { cause });
  }
}
