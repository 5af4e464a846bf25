/* Load: people who publish, follow, read and acknowledge as fast as they are answered, and remember what they were told.
 *
 * What was answered or delivered must be there after any crash. What was sent and not answered may be there or not: of a
 * post with a key, sent again after the crash, there must be one. */

import { WhalesongError } from "../../protocol/index.ts";
import type { Random } from "../model/random.ts";
import { type Inbox, type Message, SessionClient, offsetOf } from "../sessions/session-client.ts";

export interface Answered {
  author: string;
  text: string;
  id: string;
}

/** All that the broker has said, over all its lives. */
export interface Told {
  readonly posts: Map<number, Answered>;
  readonly deleted: Set<number>;
  /** Sent and not answered. */
  readonly deleting: Set<number>;
  /** By text: the author, and the fields to send again. */
  readonly unanswered: Map<string, { author: string; fields: Message }>;
  /** By pair; undefined while an answer is due. */
  readonly follows: Map<string, boolean | undefined>;
  /** By user: the greatest cursor of their firehose whose acknowledgement was answered. */
  readonly cursors: Map<string, number>;
  /** Events by offset, as first delivered. */
  readonly events: Map<number, string>;
  answers: number;
}

export function nothingTold(): Told {
  return {
    posts: new Map(),
    deleted: new Set(),
    deleting: new Set(),
    unanswered: new Map(),
    follows: new Map(),
    cursors: new Map(),
    events: new Map(),
    answers: 0,
  };
}

const people = ["ann", "ben", "cleo", "dan"];
const inFlight = 24;

export class Load {
  readonly #told: Told;
  readonly #random: Random;
  readonly #life: number;
  readonly #clients: SessionClient[] = [];
  #posts = 0;
  #isStopped = false;
  #onAnswer: () => void = () => {};

  constructor(told: Told, random: Random, life: number) {
    this.#told = told;
    this.#random = random;
    this.#life = life;
  }

  /** Connects everyone, sends again what was not answered before, and works until `answers` more have come. */
  async run(url: string, answers: number): Promise<void> {
    const end = this.#told.answers + answers;
    const enough = new Promise<void>((resolve) => {
      this.#onAnswer = () => {
        if (this.#told.answers >= end) resolve();
      };
    });
    for (const user of people) {
      this.#clients.push(await SessionClient.open(url, { user, device: "only", codec: "msgpack" }));
    }
    const again = [...this.#told.unanswered].map(([text, { author, fields }]) =>
      this.#post(author, text, fields),
    );
    const work = [
      ...again,
      ...people.flatMap((user) => [this.#publish(user), this.#follow(user), this.#read(user)]),
    ];
    await Promise.race([enough, Promise.all(work)]);
    // What goes on failing now fails because the broker is killed.
    this.#rest = Promise.allSettled(work);
  }

  #rest: Promise<unknown> = Promise.resolve();

  /** The broker was killed: waits for everyone to notice. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const client of this.#clients) client.terminate();
    await this.#rest;
  }

  #client(user: string): SessionClient {
    return this.#clients[people.indexOf(user)]!;
  }

  async #publish(user: string): Promise<void> {
    const lanes = Array.from({ length: inFlight }, async () => {
      while (!this.#isStopped) {
        const text = `${this.#life}.${++this.#posts} by ${user}`;
        const id = this.#anyPost();
        const choice = this.#random.below(10);
        if (id !== undefined && choice === 0) await this.#request(user, "repost", { post: id });
        else if (id !== undefined && choice === 1) await this.#delete(id);
        else {
          const replyTo = id !== undefined && choice < 4 ? { replyTo: id } : {};
          await this.#post(user, text, { text: `${text} @${this.#random.pick(people)} #tag`, ...replyTo });
        }
      }
    });
    await Promise.all(lanes);
  }

  async #post(author: string, text: string, fields: Message): Promise<void> {
    this.#told.unanswered.set(text, { author, fields });
    const answer = await this.#request(author, "post", { ...fields, key: text });
    this.#told.unanswered.delete(text);
    if (answer === undefined) return;
    const id = answer["id"] as string;
    this.#told.posts.set(offsetOf(id), { author, text: fields["text"] as string, id });
  }

  async #delete(id: string): Promise<void> {
    const offset = offsetOf(id);
    this.#told.deleting.add(offset);
    await this.#request(this.#told.posts.get(offset)!.author, "delete", { post: id });
    this.#told.deleted.add(offset);
  }

  async #follow(user: string): Promise<void> {
    while (!this.#isStopped) {
      const target = this.#random.pick(people.filter((other) => other !== user));
      const op = this.#random.chance(0.5) ? "follow" : "unfollow";
      this.#told.follows.set(`${user} ${target}`, undefined);
      await this.#request(user, op, { user: target });
      this.#told.follows.set(`${user} ${target}`, op === "follow");
    }
  }

  async #read(user: string): Promise<void> {
    const client = this.#client(user);
    const inbox = await client.subscribe("firehose");
    const acknowledged = this.#told.cursors.get(user);
    if (acknowledged !== undefined && offsetOf(inbox.start) < acknowledged) {
      throw new Error(`${user} had acknowledged ${acknowledged} and resumes at ${inbox.start}`);
    }
    let seen = 0;
    while (!this.#isStopped) {
      await client.until(() => inbox.events.length > seen);
      seen = this.#takeEvents(inbox, seen);
      const { cursor } = inbox.events.at(-1)!;
      await client.request("ack", { sub: inbox.sub, cursor });
      this.#told.cursors.set(user, Math.max(this.#told.cursors.get(user) ?? 0, offsetOf(cursor)));
    }
  }

  #takeEvents(inbox: Inbox, seen: number): number {
    for (const { sub: _, ...event } of inbox.events.slice(seen)) {
      if (event["event"] === "live" || event["event"] === "cursor") continue;
      const offset = offsetOf(event["cursor"]);
      const text = JSON.stringify(event);
      const before = this.#told.events.get(offset);
      if (before !== undefined && before !== text)
        throw new Error(`at ${offset} there was ${before}, now ${text}`);
      this.#told.events.set(offset, text);
    }
    return inbox.events.length;
  }

  /** Undefined for a refusal: the post it names is deleted. */
  async #request(user: string, op: string, fields: Message): Promise<Message | undefined> {
    try {
      return await this.#client(user).request(op, fields);
    } catch (error) {
      if (!(error instanceof WhalesongError) || error.code !== "not_found") throw error;
      return undefined;
    } finally {
      if (!this.#isStopped) {
        this.#told.answers++;
        this.#onAnswer();
      }
    }
  }

  /** One of the latest answered posts. */
  #anyPost(): string | undefined {
    const latest = [...this.#told.posts.values()].slice(-20);
    return latest.length === 0 ? undefined : this.#random.pick(latest).id;
  }
}
