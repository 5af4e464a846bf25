/* Predicate: does this entry belong to that stream?
 *
 * One answer for live delivery, catch-up and pages. It is taken under the relations in force when it is asked: what an
 * unfollow takes away is not delivered afterwards, however old.
 *
 *   concerns   the topics match. The interest index and the topic tables are built to answer just this, so who comes from
 *              there may skip it.
 *   passes     the rest: rules for replies, filters by relation.
 *
 * The recent-40 rule for reposts looks at a reader's history, not at the entry alone, and is kept apart (recent.ts). */

import type { Relation } from "../../protocol/index.ts";
import { type Entry, type PostEntry, type State, type UserNo, unpackContent } from "../state/index.ts";
import { fold } from "../../protocol/index.ts";
import type { Stream } from "./stream.ts";

/** Reposters, or users followed, that are looked at to find out whether a delete concerns a home. */
const maxCompared = 2_000;
/** Reposters that are looked at before it is asked how many the reader follows: most posts have no more. */
const fewReposters = 16;

/** Whether the topics of `entry` are among those of `stream`. */
export function concerns(state: State, stream: Stream, entry: Entry): boolean {
  if (entry.kind !== "post" && entry.kind !== "repost" && entry.kind !== "delete") return false;
  switch (stream.kind) {
    case "home":
      if (entry.author === stream.reader || state.follows.has(stream.reader, entry.author)) return true;
      return entry.kind === "delete" && entry.reposted && followsReposter(state, stream.reader, entry.target);
    case "mentions":
      return mentionsOf(entry).includes(stream.reader);
    case "user":
      if (entry.author === stream.user) return true;
      return (
        entry.kind === "delete" &&
        entry.reposted &&
        state.reposts.find(entry.target, stream.user) !== undefined
      );
    case "tag":
      return tagsOf(entry).some((tag) => fold(tag) === stream.tag);
    case "thread":
      if (entry.kind === "post") return entry.offset === stream.root || entry.reply?.root === stream.root;
      return entry.kind === "delete" && entry.root === stream.root;
    case "firehose":
      return true;
  }
}

/** Whether an entry that concerns `stream` is shown there. */
export function passes(state: State, stream: Stream, entry: Entry): boolean {
  switch (stream.kind) {
    case "home":
      return entry.kind !== "post" || entry.reply === undefined || showsReply(state, stream, entry);
    case "mentions": {
      const from = stream.filter.from;
      if (from === undefined || from === "everyone" || entry.kind !== "post") return true;
      return isFrom(from, relationOf(state, stream.reader, entry.author));
    }
    default:
      return true;
  }
}

/** What `author` is to `reader`. */
export function relationOf(state: State, reader: UserNo, author: UserNo): Relation {
  const follows = state.follows.has(reader, author);
  const followedBy = state.follows.has(author, reader);
  if (follows) return followedBy ? "mutual" : "following";
  return followedBy ? "follower" : "stranger";
}

function isFrom(from: "following" | "followers" | "mutuals" | "strangers", relation: Relation): boolean {
  switch (from) {
    case "following":
      return relation === "following" || relation === "mutual";
    case "followers":
      return relation === "follower" || relation === "mutual";
    case "mutuals":
      return relation === "mutual";
    case "strangers":
      return relation === "stranger";
  }
}

/** A reply in `home`: my own, to me, in its author's own thread, or between two whom I follow. */
function showsReply(state: State, stream: Stream & { kind: "home" }, entry: PostEntry): boolean {
  const { reader } = stream;
  const { parentAuthor, rootAuthor } = entry.reply!;
  if (entry.author === reader) return true;
  switch (stream.filter.replies) {
    case "all":
      return true;
    case "none":
      return false;
    default:
      return (
        parentAuthor === reader ||
        parentAuthor === entry.author ||
        rootAuthor === entry.author ||
        state.follows.has(reader, parentAuthor)
      );
  }
}

/**
 * Whether `reader`, or one they follow, reposted. Costs what the reader follows or what was reposted, whichever is less.
 * Where both are very many the answer is yes, unlooked at: to be told that a post is gone which one never had does no harm.
 */
function followsReposter(state: State, reader: UserNo, original: number): boolean {
  const hasReposted = (user: UserNo): boolean => state.reposts.find(original, user) !== undefined;
  if (hasReposted(reader)) return true;
  const few = state.reposts.reposters(original, 0, fewReposters);
  if (few.next === undefined) return few.reposters.some((reposter) => state.follows.has(reader, reposter));
  const { targets } = state.follows.list(reader, 0, maxCompared + 1);
  const { reposters, next } = state.reposts.reposters(original, 0, Math.min(targets.length, maxCompared));
  if (next === undefined) return reposters.some((reposter) => state.follows.has(reader, reposter));
  return targets.length > maxCompared || targets.some(hasReposted);
}

function mentionsOf(entry: Entry): UserNo[] {
  if (entry.kind === "delete") return entry.mentions;
  return entry.kind === "post" && !entry.deleted ? unpackContent(entry.packed).mentions : [];
}

function tagsOf(entry: Entry): string[] {
  if (entry.kind === "delete") return entry.tags;
  return entry.kind === "post" && !entry.deleted ? unpackContent(entry.packed).tags : [];
}
