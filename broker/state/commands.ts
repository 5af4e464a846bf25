/* Commands: requests to change the state, as the log orders them.
 *
 * A command names users by handle and posts by id, never by what only one node's memory knows. All that may depend on a
 * clock, a library's version or a policy (the time, the mentions found in a text, how much to trim) is decided before it
 * becomes a command; applying it is a function of the command and the state alone. */

import type { Offset } from "./bytes.ts";

export type Command =
  | { op: "user"; user: string }
  | {
      op: "post";
      user: string;
      text: string;
      mentions: string[];
      tags: string[];
      data?: unknown;
      replyTo?: string;
      key?: string;
    }
  | { op: "repost"; user: string; post: string }
  | { op: "delete"; user: string; post: string }
  | {
      op: "follow";
      user: string;
      target: string;
      /** Refused when `user` follows so many already. Commands from before there was a limit have none. */
      most?: number;
    }
  | { op: "unfollow"; user: string; target: string }
  | {
      op: "trim";
      /** Entries at or below it are to go, */
      floor: Offset;
      /** but no more than so many now; as many publish keys past their life go with them. */
      most: number;
    };

/** A command with its time, ms since the Unix epoch; never less than the command's before it. */
export type Stamped = Command & {
  at: number;
  /** Of a version that dropped no users, and applied as it applied it: those it makes are there to stay, and a trim drops none. */
  keepsUsers?: true;
};
