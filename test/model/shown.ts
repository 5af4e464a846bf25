/* Shown: entries as events. Compares what a client was shown with what the model knows. */

import assert from "node:assert/strict";

import { type Message, offsetOf } from "../sessions/session-client.ts";
import { type Entry, type Model, type PostEntry, type Stream, rootOf } from "./model.ts";

export class Shown {
  readonly #model: Model;
  /** The times the broker gave, by offset: told by the first event that shows an entry, the same ever after. */
  readonly #at = new Map<number, number>();

  constructor(model: Model) {
    this.#model = model;
  }

  /** @throws when `event` is not `entry` as `stream` shows it. */
  compare(event: Message | undefined, entry: Entry, stream: Stream, title: string): void {
    assert.ok(event !== undefined, `${title}: missing: ${describe(entry)}`);
    const { cursor, sub: _, ...rest } = event;
    assert.equal(offsetOf(cursor), entry.offset, `${title}: cursor`);
    assert.deepEqual(this.#timed(rest), this.#expected(entry, stream), title);
  }

  /** The event with offsets in place of ids; its times are compared here. */
  #timed(event: Message): Message {
    const shown = structuredClone(event);
    if ("id" in shown) shown["id"] = offsetOf(shown["id"]);
    if ("at" in shown) this.#takeAt(shown["id"] as number, shown);
    const post = shown["post"] as Message | undefined;
    if (post === undefined) return shown;
    for (const field of ["id", "replyTo", "thread"]) if (field in post) post[field] = offsetOf(post[field]);
    this.#takeAt(post["id"] as number, post);
    return shown;
  }

  #takeAt(offset: number, shown: Message): void {
    const at = shown["at"] as number;
    const known = this.#at.get(offset);
    if (known === undefined) {
      for (const [other, time] of this.#at) {
        assert.ok(other < offset ? time <= at : time >= at, `time runs with offsets at ${offset}`);
      }
      this.#at.set(offset, at);
    } else assert.equal(at, known, `the time of ${offset}`);
    delete shown["at"];
  }

  #expected(entry: Entry, stream: Stream): Message {
    if (entry.kind === "delete") return { event: "delete", id: entry.target.offset };
    if (entry.kind === "repost") {
      return { event: "repost", id: entry.offset, by: entry.author, post: this.#post(entry.original) };
    }
    const event = { event: "post", post: this.#post(entry) };
    if (stream.kind !== "mentions") return event;
    return { ...event, relation: this.#model.relation(stream.reader, entry.author) };
  }

  #post(entry: PostEntry): Message {
    const { offset: id, author, text, mentions, tags, data, replyTo } = entry;
    const post: Message = { id, author, text, mentions, tags };
    if (data !== undefined) post["data"] = data;
    if (replyTo !== undefined) {
      post["replyTo"] = replyTo.offset;
      post["thread"] = rootOf(entry).offset;
    }
    return post;
  }
}

function describe(entry: Entry): string {
  const of =
    entry.kind === "repost" ? entry.original.offset : entry.kind === "delete" ? entry.target.offset : "";
  return `${entry.kind} ${entry.offset} ${of} by ${entry.author}`;
}
