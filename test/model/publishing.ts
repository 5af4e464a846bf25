/* Publishing: what was sent at once, and how its answers become entries of the model.
 *
 * The answers say at which offset each command made an entry, so the model takes them in that order and judges each by
 * what lay before it. */

import assert from "node:assert/strict";

import type { WhalesongError } from "../../protocol/index.ts";
import type { Message } from "../sessions/session-client.ts";
import type { Entry, Model, Name, PostEntry } from "./model.ts";

export interface Publish {
  op: "post" | "repost" | "delete";
  author: Name;
  fields: Message;
  /** What it answers, reposts or deletes, by offset. */
  target: number | undefined;
  /** What the broker must find in the text of a post. */
  mentions?: Name[];
  tags?: string[];
  /** Settles when it was answered. */
  outcome: Promise<unknown>;
  /** The offsets in the answer: of the post, and of the entry that was made. */
  answer?: number;
  cursor?: number;
  error?: WhalesongError;
}

const keys = new WeakMap<Model, Map<string, number>>();

/** Adds the entries that `published` made. @throws when an answer is none that the rules allow. */
export function record(model: Model, published: Publish[]): void {
  const answered = published
    .filter(({ cursor }) => cursor !== undefined)
    .sort((a, b) => a.cursor! - b.cursor!);
  // Answered with an entry older than what it names, so it was no news; judged when that is known.
  const isRepeat = ({ cursor, target }: Publish): boolean => target !== undefined && target > cursor!;
  for (const publish of answered) if (!isRepeat(publish)) recordAnswer(model, publish);
  for (const publish of answered) if (isRepeat(publish)) recordAnswer(model, publish);
  for (const publish of published) if (publish.error !== undefined) judgeError(model, publish);
}

function recordAnswer(model: Model, publish: Publish): void {
  const { op, author, fields, answer } = publish;
  const offset = publish.cursor!;
  const known = entryAt(model, offset);
  const title = `${op} by ${author} ${JSON.stringify(fields)} was answered with ${answer}, ${offset}`;
  if (op === "post") {
    const key = fields["key"] === undefined ? undefined : `${author} ${fields["key"] as string}`;
    const first = key === undefined ? undefined : keysOf(model).get(key);
    if (first !== undefined || known !== undefined) {
      assert.equal(offset, first, `${title}: a retry gets the first answer`);
      return;
    }
    if (key !== undefined) keysOf(model).set(key, offset);
    model.add(postOf(model, publish, title));
  } else if (op === "repost") {
    const original = originalAt(model, publish.target!);
    assert.ok(original !== undefined, title);
    if (known !== undefined) {
      assert.ok(known.kind === "repost" && known.original === original && known.author === author, title);
      return;
    }
    const again = model.entries.filter((e) => e.kind === "repost" && e.original === original);
    assert.ok(
      !again.some((e) => e.author === author && e.kind === "repost" && e.deletedAt === undefined),
      title,
    );
    assert.equal(original.deletedAt, undefined, `${title}: the original is deleted`);
    model.add({ kind: "repost", offset, author, original, deletedAt: undefined });
  } else {
    const target = entryAt(model, publish.target!);
    assert.ok(target !== undefined && target.kind !== "delete", title);
    assert.equal(target.author, author, `${title}: another's`);
    assert.equal(answer, target.offset, title);
    // One that was deleted already is answered with itself; its deletion may have come earlier in this round.
    if (offset === target.offset) return;
    assert.equal(target.deletedAt, undefined, `${title}: it is deleted already`);
    model.add({ kind: "delete", offset, author, target });
  }
}

function postOf(model: Model, publish: Publish, title: string): PostEntry {
  const { author, fields, target, mentions, tags } = publish;
  const replyTo = target === undefined ? undefined : originalAt(model, target);
  if (target !== undefined)
    assert.ok(replyTo?.deletedAt === undefined, `${title}: a reply to what is deleted`);
  return {
    kind: "post",
    offset: publish.cursor!,
    author,
    text: fields["text"] as string,
    mentions: (mentions ?? []).filter((user) => user !== author),
    tags: tags ?? [],
    data: fields["data"],
    replyTo,
    deletedAt: undefined,
  };
}

/** An error must have its reason by the end of the round. */
function judgeError(model: Model, { op, author, target, error, fields }: Publish): void {
  const title = `${op} by ${author} ${JSON.stringify(fields)}: ${error?.code} ${error?.message}`;
  const entry = entryAt(model, target ?? -1);
  assert.ok(entry !== undefined && entry.kind !== "delete", title);
  if (op === "delete") {
    if (error?.code === "forbidden") assert.notEqual(entry.author, author, title);
    else assert.ok(error?.code === "not_found" && entry.offset <= model.floor, title);
    return;
  }
  assert.equal(error?.code, "not_found", title);
  const original = entry.kind === "repost" ? entry.original : entry;
  const isGone = [entry, original].some((e) => e.deletedAt !== undefined || e.offset <= model.floor);
  assert.ok(isGone, `${title}: it is there`);
}

function entryAt(model: Model, offset: number): Entry | undefined {
  return model.entries.find((entry) => entry.offset === offset);
}

/** The post at an offset; a repost stands for its original. */
function originalAt(model: Model, offset: number): PostEntry | undefined {
  const entry = entryAt(model, offset);
  return entry?.kind === "repost" ? entry.original : entry?.kind === "post" ? entry : undefined;
}

function keysOf(model: Model): Map<string, number> {
  let known = keys.get(model);
  if (known === undefined) {
    known = new Map();
    keys.set(model, known);
  }
  return known;
}
