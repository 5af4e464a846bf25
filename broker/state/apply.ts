/* Apply: the state machine. One command, one offset, one outcome.
 *
 * Deterministic: no clock, no randomness, no I/O but the tables. Every function checks first and writes last, so that a
 * command refused leaves nothing behind. Runs within a transaction. */

import { fold, limits, WhalesongError } from "../../protocol/index.ts";
import type { Offset, UserNo } from "./bytes.ts";
import type { Command, Stamped } from "./commands.ts";
import {
  type DeleteEntry,
  type Entry,
  type PostEntry,
  type RepostEntry,
  type Reply,
  packContent,
  unpackContent,
} from "./entries.ts";
import { publishKey, publishKeyLifeMs } from "./publish-keys.ts";
import type { State } from "./state.ts";
import { authorTopic, mentionTopic, retractedTopic, tagTopic, threadTopic } from "./topics.ts";

/** What a command came to: the answer for its caller, and what happened for the world, if anything did. */
export interface Outcome {
  offset: Offset;
  /** The offset of the post, repost or delete that answers it: an earlier one when the command was a retry. */
  answer: Offset;
  entry?: Entry;
  error?: WhalesongError;
}

export function apply(state: State, offset: Offset, command: Stamped): Outcome {
  try {
    return applyChecked(state, offset, command);
  } catch (error) {
    if (error instanceof WhalesongError) return { offset, answer: offset, error };
    throw error;
  }
}

function applyChecked(state: State, offset: Offset, command: Stamped): Outcome {
  switch (command.op) {
    case "user":
      return applyUser(state, offset, command);
    case "post":
      return applyPost(state, offset, command);
    case "repost":
      return applyRepost(state, offset, command);
    case "delete":
      return applyDelete(state, offset, command);
    case "follow":
    case "unfollow":
      return applyFollow(state, offset, command);
    case "trim":
      return applyTrim(state, offset, command);
  }
}

type Of<K extends Command["op"]> = Extract<Stamped, { op: K }>;

function happened(state: State, entry: Entry): Outcome {
  state.putEntry(entry);
  for (const user of namedApart(entry)) state.unclaimed.name(user, entry.offset);
  return { offset: entry.offset, answer: entry.offset, entry };
}

const nobody: readonly UserNo[] = [];

/** The users whom an entry names besides its author and those whom it mentions, of whom its topics tell. */
function namedApart(entry: Entry): readonly UserNo[] {
  switch (entry.kind) {
    case "post":
      return entry.reply === undefined ? nobody : [entry.reply.parentAuthor, entry.reply.rootAuthor];
    case "repost":
      return [entry.originalAuthor];
    case "follow":
    case "unfollow":
      return [entry.author, entry.target];
    default:
      return nobody;
  }
}

/** The users without whom an entry could not be shown, or judged for a stream; some more than once. */
function namedBy(entry: Entry): UserNo[] {
  if (entry.kind === "forgotten") return [];
  return [entry.author, ...namedApart(entry), ...mentionsOf(entry)];
}

function mentionsOf(entry: Entry): UserNo[] {
  if (entry.kind === "delete") return entry.mentions;
  return entry.kind === "post" && !entry.deleted ? unpackContent(entry.packed).mentions : [];
}

/** Somebody has something to be kept that is no command. Who is a user already is claimed by it, which nobody needs to hear of. */
function applyUser(state: State, offset: Offset, command: Of<"user">): Outcome {
  const known = state.users.find(command.user);
  if (known === undefined)
    return happened(state, { kind: "user", offset, at: command.at, author: state.user(command.user, true) });
  if (state.unclaimed.row(known) !== undefined) state.unclaimed.remove(known);
  return { offset, answer: offset };
}

function applyPost(state: State, offset: Offset, command: Of<"post">): Outcome {
  const { at, text } = command;
  const known = state.users.find(command.user);
  if (command.key !== undefined && command.replyTo !== undefined && known !== undefined) {
    // A retry is answered as before, also when what it replied to is gone by now.
    const published = state.publishKeys.find(publishKey(known, command.key));
    if (published !== undefined) return { offset, answer: published };
  }
  const reply = command.replyTo === undefined ? undefined : replyTo(state, command.replyTo);

  const author = known ?? madeUser(state, command, command.user);
  if (command.key !== undefined) {
    const published = state.publishKeys.claim(publishKey(author, command.key), { offset, at });
    if (published !== undefined) return { offset, answer: published };
  }
  const mentions = mentioned(state, author, command);
  const content = { text, mentions, tags: distinctTags(command.tags) };
  const packed = packContent(command.data === undefined ? content : { ...content, data: command.data });
  state.topics.put(authorTopic(author), offset);
  for (const user of mentions) state.topics.put(mentionTopic(user), offset);
  for (const tag of content.tags) state.topics.put(tagTopic(tag), offset);
  if (reply !== undefined) state.topics.put(threadTopic(reply.root), offset);
  return happened(state, { kind: "post", offset, at, author, deleted: false, reply, packed });
}

/** The number of `handle`. Who becomes a user by what is written stays while something refers to them. */
function madeUser(state: State, { keepsUsers }: Stamped, handle: string): UserNo {
  return state.user(handle, keepsUsers === true);
}

function replyTo(state: State, id: string): Reply {
  const parent = originalOf(state, id, "replyTo");
  return {
    parent: parent.offset,
    parentAuthor: parent.author,
    root: parent.reply?.root ?? parent.offset,
    rootAuthor: parent.reply?.rootAuthor ?? parent.author,
  };
}

/** The users mentioned, without the author, none twice; those unknown so far become users. */
function mentioned(state: State, author: UserNo, command: Of<"post">): UserNo[] {
  const users: UserNo[] = [];
  for (const handle of command.mentions) {
    if (users.length === limits.mentions) break;
    const user = madeUser(state, command, handle);
    if (user !== author && !users.includes(user)) users.push(user);
  }
  return users;
}

function distinctTags(tags: string[]): string[] {
  if (tags.length < 2) return tags;
  const byFolded = new Map<string, string>();
  for (const tag of tags) if (!byFolded.has(fold(tag))) byFolded.set(fold(tag), tag);
  return [...byFolded.values()].slice(0, limits.tags);
}

function applyRepost(state: State, offset: Offset, command: Of<"repost">): Outcome {
  const original = originalOf(state, command.post, "post");
  const known = state.users.find(command.user);
  if (known !== undefined) {
    const first = state.reposts.find(original.offset, known);
    if (first !== undefined) return { offset, answer: first };
  }
  const author = known ?? madeUser(state, command, command.user);
  state.topics.put(authorTopic(author), offset);
  state.reposts.put(original.offset, author, offset);
  return happened(state, {
    kind: "repost",
    offset,
    at: command.at,
    author,
    deleted: false,
    original: original.offset,
    originalAuthor: original.author,
  });
}

/** The post that `id` names; a repost stands for its original. @throws `not_found` */
function originalOf(state: State, id: string, field: string): PostEntry {
  const offset = state.positions.parseId(id);
  let entry = offset === undefined ? undefined : state.storedEntry(offset);
  if (entry?.kind === "repost" && !entry.deleted) entry = state.storedEntry(entry.original);
  if (entry?.kind !== "post" || entry.deleted) {
    throw new WhalesongError("not_found", `${field}: there is no post ${JSON.stringify(id)}`, { field });
  }
  return entry;
}

function applyDelete(state: State, offset: Offset, command: Of<"delete">): Outcome {
  const at = state.positions.parseId(command.post);
  const target = at === undefined ? undefined : state.storedEntry(at);
  if (target?.kind !== "post" && target?.kind !== "repost") {
    throw new WhalesongError("not_found", `post: there is no post ${JSON.stringify(command.post)}`, {
      field: "post",
    });
  }
  if (target.author !== state.users.find(command.user)) {
    throw new WhalesongError("forbidden", `post: ${JSON.stringify(command.post)} is another user's`, {
      field: "post",
    });
  }
  if (target.deleted) return { offset, answer: target.offset };
  const base = {
    kind: "delete" as const,
    offset,
    at: command.at,
    author: target.author,
    target: target.offset,
  };
  const outcome =
    target.kind === "post"
      ? happened(state, deletePost(state, target, base))
      : happened(state, deleteRepost(state, target, base));
  return { ...outcome, answer: target.offset };
}

type DeleteBase = Pick<DeleteEntry, "kind" | "offset" | "at" | "author" | "target">;

function deletePost(state: State, target: PostEntry, base: DeleteBase): DeleteEntry {
  const { mentions, tags } = unpackContent(target.packed);
  const root = target.reply?.root ?? target.offset;
  const reposted = state.reposts.any(target.offset);
  // The post keeps its place among its author's entries; elsewhere its delete takes over.
  state.topics.put(authorTopic(base.author), base.offset);
  for (const user of mentions) {
    state.topics.remove(mentionTopic(user), target.offset);
    state.topics.put(mentionTopic(user), base.offset);
  }
  for (const tag of tags) {
    state.topics.remove(tagTopic(tag), target.offset);
    state.topics.put(tagTopic(tag), base.offset);
  }
  if (target.reply !== undefined) state.topics.remove(threadTopic(root), target.offset);
  state.topics.put(threadTopic(root), base.offset);
  if (reposted) state.topics.put(retractedTopic, base.offset);
  state.putEntry({ ...target, deleted: true, packed: Buffer.alloc(0) });
  return { ...base, root, mentions, tags, reposted };
}

function deleteRepost(state: State, target: RepostEntry, base: DeleteBase): DeleteEntry {
  state.topics.put(authorTopic(base.author), base.offset);
  state.reposts.withdraw(target.original, target.author);
  state.putEntry({ ...target, deleted: true });
  return { ...base, root: 0, mentions: [], tags: [], reposted: false };
}

function applyFollow(state: State, offset: Offset, command: Of<"follow" | "unfollow">): Outcome {
  if (fold(command.user) === fold(command.target)) {
    throw new WhalesongError("bad_request", `user: nobody can ${command.op} themself`, { field: "user" });
  }
  const follower = state.users.find(command.user);
  const followee = state.users.find(command.target);
  const follows = follower !== undefined && followee !== undefined && state.follows.has(follower, followee);
  if (follows === (command.op === "follow")) return { offset, answer: offset };
  if (command.op === "follow" && command.most !== undefined && follower !== undefined)
    refuseTooMany(state.follows.count(follower), command.most);
  const author = follower ?? madeUser(state, command, command.user);
  const target = followee ?? madeUser(state, command, command.target);
  if (command.op === "follow") state.follows.add(author, target, offset);
  else state.follows.remove(author, target);
  return happened(state, { kind: command.op, offset, at: command.at, author, target });
}

/** @throws `conflict` */
function refuseTooMany(count: number, most: number): void {
  if (count < most) return;
  throw new WhalesongError(
    "conflict",
    `user: you follow ${count} users; the limit is ${most} (limits.follows): unfollow somebody first`,
    { field: "user" },
  );
}

/** Publish keys and entries go, and with them the users that nothing refers to since. Ends before its `floor` once it has dropped `most`. */
function applyTrim(state: State, offset: Offset, command: Of<"trim">): Outcome {
  const { most } = command;
  const before = state.meta.floor;
  const upTo = Math.max(before, Math.min(command.floor, before + most, offset - 1));
  state.publishKeys.expire(command.at - publishKeyLifeMs, most);
  const dropped = new Dropped(state);
  const isDropping = command.keepsUsers !== true;
  let floor = before;
  while (floor < upTo && dropped.users.length < most) {
    const entry = state.storedEntry(++floor);
    if (entry === undefined) continue;
    forget(state, entry);
    if (isDropping) dropped.lookAtAll(entry);
  }
  state.setFloor(floor);
  if (isDropping) dropped.lookAtHolders(floor, most);
  if (dropped.users.length === 0) return { offset, answer: offset };
  const { users, handles } = dropped;
  return happened(state, { kind: "forgotten", offset, at: command.at, author: 0, users, handles });
}

/** Drops users that nothing refers to: no entry, no follow, no publish key. */
class Dropped {
  readonly users: UserNo[] = [];
  readonly handles: string[] = [];
  readonly #state: State;
  /** No key of a post before it is in force. */
  readonly #firstKey: Offset;

  constructor(state: State) {
    this.#state = state;
    this.#firstKey = state.publishKeys.firstInForce();
  }

  /** Looks at all whom an entry has named, now that it and all before it are gone. */
  lookAtAll(entry: Entry): void {
    const { unclaimed, topics } = this.#state;
    const { author, offset } = entry;
    const isFiled = entry.kind === "post" || entry.kind === "repost" || entry.kind === "delete";
    const isLast = isFiled && offset >= this.#firstKey && topics.isEmpty(authorTopic(author));
    if (isLast) unclaimed.hold(author, offset);
    for (const user of namedBy(entry)) this.#look(user, offset);
  }

  /** Looks at those who waited for keys that are no longer in force. */
  lookAtHolders(floor: Offset, most: number): void {
    for (const user of this.#state.unclaimed.release(this.#firstKey, most)) this.#look(user, floor);
  }

  /** Entries up to `floor` are gone. */
  #look(user: UserNo, floor: Offset): void {
    const { unclaimed, topics, follows } = this.#state;
    const row = unclaimed.row(user);
    if (row === undefined || row.named > floor || (row.keyed > 0 && row.keyed >= this.#firstKey)) return;
    if (!topics.isEmpty(authorTopic(user)) || !topics.isEmpty(mentionTopic(user))) return;
    if (follows.following(user, 0, 1).length > 0 || follows.followers(user, 0, 1).length > 0) return;
    this.users.push(user);
    this.handles.push(this.#state.dropUser(user));
  }
}

/** Removes an entry and all that is filed under its offset. Follows stay: they are state, not history. */
function forget(state: State, entry: Entry): void {
  const { offset } = entry;
  state.removeEntry(offset);
  switch (entry.kind) {
    case "post": {
      state.topics.remove(authorTopic(entry.author), offset);
      if (entry.deleted) return;
      const { mentions, tags } = unpackContent(entry.packed);
      for (const user of mentions) state.topics.remove(mentionTopic(user), offset);
      for (const tag of tags) state.topics.remove(tagTopic(tag), offset);
      if (entry.reply !== undefined) state.topics.remove(threadTopic(entry.reply.root), offset);
      return;
    }
    case "repost":
      state.topics.remove(authorTopic(entry.author), offset);
      state.reposts.forget(entry.original, entry.author, offset);
      return;
    case "delete":
      state.topics.remove(authorTopic(entry.author), offset);
      for (const user of entry.mentions) state.topics.remove(mentionTopic(user), offset);
      for (const tag of entry.tags) state.topics.remove(tagTopic(tag), offset);
      if (entry.root !== 0) state.topics.remove(threadTopic(entry.root), offset);
      if (entry.reposted) state.topics.remove(retractedTopic, offset);
      return;
    default:
  }
}
