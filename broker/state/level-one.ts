/* Level one: what 0.1.0 made of commands while it applied them, and whoever makes commands has made since. What it does here is fixed: two
 * versions apply the same log. */

import { WhalesongError } from "../../protocol/index.ts";
import type { Stamped } from "./commands.ts";
import type { Level } from "./levels.ts";
import { type Name, distinctNames, isSelfFolding, nameOf } from "./names.ts";

const mostMentions = 50;
const mostTags = 50;
const keyLifeMs = 24 * 3_600_000;

/**
 * A command of level 1 as one of the newest. While the store is at level 1 names are folded with this process's tables, as 0.1.0 did. One that was
 * on its way when the level was raised is applied like any other, unless it holds a name of which processes may think differently.
 * @throws `not_yet` for that one
 */
export function namesOf(command: Stamped, level: Level): Stamped {
  switch (command.op) {
    case "level":
      return command;
    case "trim":
      return { ...command, keyLifeMs };
    case "post": {
      const user = folded(command.user, level);
      const mentions = command.mentions.map((name) => folded(name, level));
      const tags = command.tags.map((name) => folded(name, level));
      return {
        ...command,
        user,
        mentions: distinctNames(mentions, { most: mostMentions, but: user }),
        tags: distinctNames(tags, { most: mostTags }),
      };
    }
    case "follow":
    case "unfollow":
      return { ...command, user: folded(command.user, level), target: folded(command.target, level) };
    default:
      return { ...command, user: folded(command.user, level) };
  }
}

function folded(name: Name, level: Level): Name {
  if (isSelfFolding(name)) return name;
  if (level > 1)
    throw new WhalesongError(
      "not_yet",
      "this was on its way while the cluster was upgraded, and nothing was changed; send it again",
    );
  return nameOf(name as string);
}
