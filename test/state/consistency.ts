/* Consistency: walks all tables of a store and says what does not fit together.
 *
 * The log is the truth: every posting, repost and relation must follow from it, and the other way round. */

import {
  type Entry,
  type Offset,
  type State,
  type UserNo,
  authorTopic,
  mentionTopic,
  retractedTopic,
  tagTopic,
  threadTopic,
  unpackContent,
} from "../../broker/state/index.ts";

const all = Number.MAX_SAFE_INTEGER;

/** What is wrong with the store, in words; nothing when all fits. */
export function faultsOf(state: State): string[] {
  const faults: string[] = [];
  const { floor, nextUser } = state.meta;
  const applied = state.applied();
  const entries = [...state.entries(0, applied)];
  const byOffset = new Map(entries.map((entry) => [entry.offset, entry]));
  const numbers = Array.from({ length: nextUser - 1 }, (_, i) => i + 1);
  const users = numbers.filter((user) => state.users.findHandle(user) !== undefined);

  if (floor > applied) faults.push(`the floor ${floor} is beyond the head ${applied}`);
  for (const { offset, author } of entries) {
    if (offset <= floor) faults.push(`entry ${offset} is below the floor ${floor}`);
    if (author >= nextUser) faults.push(`entry ${offset} is by the unknown user ${author}`);
  }
  for (let i = 1; i < entries.length; i++) {
    if (entries[i]!.at < entries[i - 1]!.at) faults.push(`time runs backwards at ${entries[i]!.offset}`);
  }
  for (const user of users) {
    if (state.users.find(state.users.handle(user)) !== user)
      faults.push(`user ${user} is not found by handle`);
  }

  const expected = new Map<string, Set<number>>();
  for (const entry of entries) {
    for (const topic of topicsOf(entry)) {
      const key = topic.toString("hex");
      expected.set(key, (expected.get(key) ?? new Set()).add(entry.offset));
    }
  }
  for (const [key, offsets] of expected) {
    const topic = Buffer.from(key, "hex");
    const found = state.topics.after(topic, 0, applied, all);
    for (const offset of offsets)
      if (!found.includes(offset)) faults.push(`entry ${offset} is not in topic ${key}`);
    for (const offset of found)
      if (!offsets.has(offset)) faults.push(`topic ${key} has ${offset}, which is not of it`);
    if (state.topics.before(topic, applied + 1, all).join() !== found.toReversed().join()) {
      faults.push(`topic ${key} reads otherwise backwards`);
    }
  }
  const filed = new Map<string, number[]>();
  for (const { topic, offsets } of state.topics.postings()) {
    const key = topic.toString("hex");
    filed.set(key, [...(filed.get(key) ?? []), ...offsets]);
    if (offsets.length === 0 || offsets.length > 32) faults.push(`topic ${key}: a row of ${offsets.length}`);
  }
  for (const [key, offsets] of filed) {
    const of = [...(expected.get(key) ?? [])];
    if (offsets.join() !== of.join())
      faults.push(`topic ${key} is filed as ${offsets.join()}, not ${of.join()}`);
  }
  const { tables } = state.size();
  const has = (table: string, count: number): void => {
    const { entries: rows } = tables[table]!;
    if (rows !== count) faults.push(`table ${table} has ${rows} rows, ${count} are accounted for`);
  };
  has("log", entries.length);
  has("users", users.length);
  has("handles", users.length);
  faults.push(...faultsOfUsers(state, entries, new Set(users)));

  for (const user of users) {
    const authored = entries.findLast((e) => isTopical(e) && e.author === user)?.offset ?? 0;
    if (state.topics.lastByAuthor(user) < authored)
      faults.push(`user ${user} did more than lastByAuthor says`);
  }

  let follows = 0;
  for (const user of users) {
    const { targets, since } = state.follows.list(user);
    follows += targets.length;
    if (state.follows.count(user) !== targets.length)
      faults.push(`${user} follows ${targets.length}, ${state.follows.count(user)} are counted`);
    targets.forEach((target, i) => {
      if (!state.follows.followers(target, 0, all).includes(user))
        faults.push(`${target} does not know ${user}`);
      if (target >= nextUser) faults.push(`${user} follows the unknown user ${target}`);
      if (since[i]! > applied) faults.push(`${user} follows ${target} since after the head`);
      const entry = byOffset.get(since[i]!);
      if (
        since[i]! > floor &&
        (entry?.kind !== "follow" || entry.author !== user || entry.target !== target)
      ) {
        faults.push(`${user} follows ${target} since ${since[i]}, where there is no such entry`);
      }
    });
  }
  has("follows", follows);
  has("followers", follows);
  for (const [pair, entry] of lastRelations(entries)) {
    const isFollowing = state.follows.has(entry.author, entry.target);
    if (isFollowing !== (entry.kind === "follow"))
      faults.push(`${pair} is not as entry ${entry.offset} left it`);
  }

  const pairs = new Set<string>();
  for (const entry of entries) {
    if (entry.kind !== "repost") continue;
    pairs.add(`${entry.original} ${entry.author}`);
    const there = state.reposts.find(entry.original, entry.author);
    if (!entry.deleted && there !== entry.offset)
      faults.push(`repost ${entry.offset} is not found: ${there}`);
    if (entry.deleted && there === entry.offset)
      faults.push(`repost ${entry.offset} is found though withdrawn`);
  }
  has("reposts", pairs.size);
  return faults;
}

/** Whether all who are referred to are there, and of those who are not claimed nobody else. */
function faultsOfUsers(state: State, entries: Entry[], users: Set<UserNo>): string[] {
  const faults: string[] = [];
  const named = new Set<UserNo>();
  const apart = new Map<UserNo, Offset>();
  for (const entry of entries) {
    for (const user of namedApart(entry)) apart.set(user, entry.offset);
    for (const user of namedBy(entry)) {
      named.add(user);
      if (!users.has(user)) faults.push(`entry ${entry.offset} names the user ${user}, who is not there`);
    }
  }
  const { follows, publishKeys } = state;
  const { floor } = state.meta;
  for (const user of users)
    for (const target of follows.following(user, 0, all))
      if (!users.has(target)) faults.push(`${user} follows the user ${target}, who is not there`);
  for (const [user, row] of state.unclaimed.rows()) {
    if (!users.has(user)) faults.push(`user ${user} is not there, and not claimed`);
    const last = apart.get(user);
    if (last === undefined ? row.named > floor : row.named !== last)
      faults.push(`user ${user} is named by ${last}, and said to be by ${row.named}`);
    const isFollowing = follows.following(user, 0, 1).length + follows.followers(user, 0, 1).length > 0;
    const hasKey = row.keyed > 0 && row.keyed >= publishKeys.firstInForce();
    if (!named.has(user) && !isFollowing && !hasKey) faults.push(`nothing refers to user ${user}`);
  }
  return faults;
}

function namedBy(entry: Entry): UserNo[] {
  if (entry.kind === "forgotten") return [];
  const users = [entry.author, ...namedApart(entry)];
  if (entry.kind === "delete") users.push(...entry.mentions);
  if (entry.kind === "post" && !entry.deleted) users.push(...unpackContent(entry.packed).mentions);
  return users;
}

/** Those of whom no topic tells. */
function namedApart(entry: Entry): UserNo[] {
  switch (entry.kind) {
    case "post":
      return entry.reply === undefined ? [] : [entry.reply.parentAuthor, entry.reply.rootAuthor];
    case "repost":
      return [entry.originalAuthor];
    case "follow":
    case "unfollow":
      return [entry.author, entry.target];
    default:
      return [];
  }
}

function topicsOf(entry: Entry): Buffer[] {
  switch (entry.kind) {
    case "post": {
      if (entry.deleted) return [authorTopic(entry.author)];
      const { mentions, tags } = unpackContent(entry.packed);
      const thread = entry.reply === undefined ? [] : [threadTopic(entry.reply.root)];
      return [authorTopic(entry.author), ...mentions.map(mentionTopic), ...tags.map(tagTopic), ...thread];
    }
    case "repost":
      return [authorTopic(entry.author)];
    case "delete": {
      const topics = [
        authorTopic(entry.author),
        ...entry.mentions.map(mentionTopic),
        ...entry.tags.map(tagTopic),
      ];
      if (entry.root !== 0) topics.push(threadTopic(entry.root));
      if (entry.reposted) topics.push(retractedTopic);
      return topics;
    }
    default:
      return [];
  }
}

function isTopical({ kind }: Entry): boolean {
  return kind === "post" || kind === "repost" || kind === "delete";
}

/** By pair of users: the newest entry about their relation. */
function lastRelations(entries: Entry[]): Map<string, Extract<Entry, { kind: "follow" | "unfollow" }>> {
  const last = new Map<string, Extract<Entry, { kind: "follow" | "unfollow" }>>();
  for (const entry of entries) {
    if (entry.kind === "follow" || entry.kind === "unfollow")
      last.set(`${entry.author} ${entry.target}`, entry);
  }
  return last;
}
