/* follow, unfollow: one durable relation or many. */

import type { Command } from "commander";

import type { Client } from "../core/index.ts";

import { exitTwoOnUsage, print, runCommand } from "./command.ts";
import { type ConnectionOptions, openSession, withConnection } from "./connection.ts";

export function registerFollow(program: Command): void {
  const follow = program
    .command("follow")
    .summary("follow users")
    .description("Follows users, durably: what they post from now on comes to your home.")
    .argument("<users...>", "handles")
    .addHelpText("after", "\nExample:\n  $ whalesong follow --user alice bob carol")
    .action((users: string[], options: ConnectionOptions) =>
      runCommand((signal) => change(users, { options, signal, ask: (me, user) => me.follow(user) })),
    );
  exitTwoOnUsage(withConnection(follow));

  const unfollow = program
    .command("unfollow")
    .summary("stop following users")
    .description("Stops following users.")
    .argument("<users...>", "handles")
    .addHelpText("after", "\nExample:\n  $ whalesong unfollow --user alice bob")
    .action((users: string[], options: ConnectionOptions) =>
      runCommand((signal) => change(users, { options, signal, ask: (me, user) => me.unfollow(user) })),
    );
  exitTwoOnUsage(withConnection(unfollow));
}

interface Change {
  options: ConnectionOptions;
  signal: AbortSignal;
  ask: (session: Client, user: string) => Promise<{ state: "following" | "requested" | "none" }>;
}

const said = { following: "following", requested: "requested to follow", none: "not following" };

async function change(users: string[], { options, signal, ask }: Change): Promise<void> {
  const session = await openSession(options, signal);
  try {
    for (const user of users) {
      const { state } = await ask(session, user);
      await print(`${said[state]} ${user}\n`);
    }
  } finally {
    await session.close();
  }
}
