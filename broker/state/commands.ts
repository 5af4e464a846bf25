/* Commands: requests to change the state, as the log orders them.
 *
 * A command names users by handle and posts by id, never by what only one node's memory knows. All that may depend on a
 * clock, a library's version or a policy (the time, what a name folds to, the mentions found in a text, limits and lifetimes, how much to trim) is
 * decided before it becomes a command; applying it is a function of the command, the state and its level alone. */

import type { Offset } from "./bytes.ts";
import { type Level, newestLevel } from "./levels.ts";
import { type Name, givenOf } from "./names.ts";

export type Command =
  | { op: "user"; user: Name }
  | {
      op: "post";
      user: Name;
      text: string;
      /** Distinct, without the author, and no more than are to be mentioned. */
      mentions: Name[];
      /** Distinct, and no more than are to be filed. */
      tags: Name[];
      data?: unknown;
      replyTo?: string;
      key?: string;
    }
  | { op: "repost"; user: Name; post: string }
  | { op: "delete"; user: Name; post: string }
  | {
      op: "follow";
      user: Name;
      target: Name;
      /** Refused when `user` follows so many already. Commands from before there was a limit have none. */
      most?: number;
    }
  | { op: "unfollow"; user: Name; target: Name }
  | {
      op: "trim";
      /** Entries at or below it are to go, */
      floor: Offset;
      /** but no more than so many now; as many publish keys past their life go with them. */
      most: number;
      /** How long publish keys live, in ms. Absent at level 1. */
      keyLifeMs?: number;
    }
  /** What is applied from here on is applied as at this level. One that the store has already changes nothing. */
  | { op: "level"; to: Level };

/** A command with its time, ms since the Unix epoch; never less than the command's before it. */
export type Stamped = Command & {
  at: number;
  /** It is of this level, and not the newest: names are as given and not folded, limits are not applied, lifetimes not said. */
  level?: 1;
  /** Of a version that dropped no users, and applied as it applied it: those it makes are there to stay, and a trim drops none. */
  keepsUsers?: true;
};

/** The level from which on there is such a command. */
const since: { readonly [op in Command["op"]]: Level } = {
  user: 1,
  post: 1,
  repost: 1,
  delete: 1,
  follow: 1,
  unfollow: 1,
  trim: 1,
  level: 2,
};

/** The level from which on there is such a command; the one that raises a level can be read by who knows that one. */
export function levelNeeded(command: Command): Level {
  return command.op === "level" ? command.to : since[command.op];
}

/** `command` as a log takes it whose store has this level. */
export function commandAt(level: Level, command: Command & { at: number }): Stamped {
  return level === newestLevel || command.op === "level" ? command : { ...plain(command), level: 1 };
}

/** Names as they were given, and no lifetimes. */
function plain(command: Exclude<Command & { at: number }, { op: "level" }>): Command & { at: number } {
  switch (command.op) {
    case "trim": {
      const { keyLifeMs: _, ...rest } = command;
      return rest;
    }
    case "post":
      return {
        ...command,
        user: givenOf(command.user),
        mentions: command.mentions.map(givenOf),
        tags: command.tags.map(givenOf),
      };
    case "follow":
    case "unfollow":
      return { ...command, user: givenOf(command.user), target: givenOf(command.target) };
    default:
      return { ...command, user: givenOf(command.user) };
  }
}
