/* Publisher: turns interactions into posts, replies and reposts, in their order.
 *
 * All requests travel on one connection, which applies them in the order sent; so they are sent without waiting for
 * each other. Only a repost or a reply to a post that is still unanswered waits, for its id.
 *
 *   RT  a repost of the target's latest post. By the same user again it is answered with the first repost, and
 *       nothing new is published.
 *   MT  a post whose text mentions the target
 *   RE  a reply to the target's latest post
 *
 * A target of RT or RE without a post first publishes one. At full speed such a first post is sent some lines ahead,
 * so that its id is there when its line comes. */

import { setTimeout as sleep } from "node:timers/promises";

import type { Entry, PostEntry, RepostEntry } from "./expectation.ts";
import { type InteractionGraph, numberSpan } from "./graph.ts";
import { InFlight } from "./in-flight.ts";
import type { Interaction } from "./interactions.ts";

interface Published {
  id: string;
  cursor: string;
}

/** What the publisher needs of an SDK session. */
export interface PublishingSession {
  post(text: string, options: { as: string; replyTo?: string; mentions?: string[] }): Promise<Published>;
  repost(id: string, options: { as: string }): Promise<Published>;
}

export interface PublisherOptions {
  session: PublishingSession;
  graph: InteractionGraph;
  /** Publishes unanswered at once. */
  concurrency: number;
  /** Times real time. */
  speed: number | "max";
  /** Texts are padded to so many bytes. */
  textBytes: number;
  signal: AbortSignal;
}

export interface PublishCounts {
  /** Interactions done. */
  interactions: number;
  posts: number;
  replies: number;
  reposts: number;
  /** Of `posts`, those by targets that had none. */
  firstPosts: number;
  /** Reposts of a post by a user who had reposted it: answered with the first, nothing new. */
  repeatedReposts: number;
}

// What twitter-text reads as a mention; other handles are listed instead of left to be found.
const plainHandle = /^[A-Za-z0-9_]{1,20}$/;

export class Publisher {
  readonly counts: PublishCounts = {
    interactions: 0,
    posts: 0,
    replies: 0,
    reposts: 0,
    firstPosts: 0,
    repeatedReposts: 0,
  };
  /** Everything published, in the order sent; ids and cursors are filled in by the answers. */
  readonly entries: Entry[] = [];
  /** Answers to repeated reposts that were not the first repost's. */
  wrongAnswers = 0;

  readonly #options: PublisherOptions;
  readonly #inFlight: InFlight;
  readonly #latest = new Map<number, PostEntry>();
  /** Users who have a post by the line read last; `#latest` lags behind by the look-ahead. */
  readonly #withPost = new Set<number>();
  readonly #unanswered = new Map<Entry, Promise<Published>>();
  /** By reposter × 2^26 + place of the original among the entries. */
  readonly #reposts = new Map<number, RepostEntry>();
  readonly #places = new WeakMap<PostEntry, number>();
  readonly #repeats: { first: RepostEntry; id: string }[] = [];
  #startMs: number | undefined;
  #startSeconds = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#inFlight = new InFlight(options.concurrency);
  }

  /** Publishes all and waits for every answer. Rejects with the first refusal. */
  async publish(interactions: AsyncIterable<Interaction> | Iterable<Interaction>): Promise<void> {
    const { speed, concurrency, signal } = this.#options;
    const ahead: Interaction[] = [];
    const lookahead = speed === "max" ? concurrency : 0;
    for await (const interaction of interactions) {
      signal.throwIfAborted();
      if (speed !== "max") await this.#waitFor(interaction.atSeconds, speed);
      await this.#plan(interaction);
      ahead.push(interaction);
      // Taken from the front in batches, so that a long look-ahead does not cost a shift for each line.
      if (ahead.length > lookahead * 2) {
        for (const next of ahead.splice(0, ahead.length - lookahead)) await this.#perform(next);
      }
    }
    for (const next of ahead) await this.#perform(next);
    await this.#inFlight.drain();
    this.wrongAnswers = this.#repeats.filter(({ first, id }) => first.id !== id).length;
  }

  async #waitFor(atSeconds: number, speed: number): Promise<void> {
    if (this.#startMs === undefined) {
      this.#startMs = performance.now();
      this.#startSeconds = atSeconds;
    }
    const dueMs = this.#startMs + ((atSeconds - this.#startSeconds) * 1_000) / speed;
    const waitMs = dueMs - performance.now();
    if (waitMs > 1) await sleep(waitMs, undefined, { signal: this.#options.signal });
  }

  /** Sees to it that there is a post to repost or to answer. */
  async #plan({ actor, target, kind }: Interaction): Promise<void> {
    const { graph } = this.#options;
    const about = graph.numberOf(target);
    if (kind !== "MT" && !this.#withPost.has(about)) {
      this.#withPost.add(about);
      this.counts.firstPosts++;
      await this.#post({ kind: "post", id: "", cursor: "", author: about }, "something to answer");
    }
    if (kind !== "RT") this.#withPost.add(graph.numberOf(actor));
  }

  async #perform({ actor, target, kind }: Interaction): Promise<void> {
    const { graph } = this.#options;
    this.#options.signal.throwIfAborted();
    const author = graph.numberOf(actor);
    const about = graph.numberOf(target);
    if (kind === "MT") {
      const mention = plainHandle.test(target) ? {} : { mentions: [target] };
      await this.#post(
        { kind: "post", id: "", cursor: "", author, mentioned: about },
        `look at this, @${target}`,
        mention,
      );
    } else {
      const latest = this.#latest.get(about);
      if (latest === undefined) throw new Error(`user ${target} has a post by now`);
      if (latest.id === "") await this.#unanswered.get(latest);
      if (kind === "RT") await this.#repost(author, latest);
      else await this.#post({ kind: "post", id: "", cursor: "", author, replyTo: latest }, "an answer");
    }
    this.counts.interactions++;
  }

  async #post(entry: PostEntry, said: string, mention: { mentions?: string[] } = {}): Promise<void> {
    const { session, graph, textBytes } = this.#options;
    const fields = entry.replyTo === undefined ? mention : { replyTo: entry.replyTo.id };
    const as = graph.handleOf(entry.author);
    await this.#send(entry, () => session.post(said.padEnd(textBytes, "."), { as, ...fields }));
    this.#places.set(entry, this.entries.length - 1);
    this.#latest.set(entry.author, entry);
    if (entry.replyTo === undefined) this.counts.posts++;
    else this.counts.replies++;
  }

  async #repost(author: number, original: PostEntry): Promise<void> {
    const { session, graph } = this.#options;
    const as = graph.handleOf(author);
    const place = this.#places.get(original);
    if (place === undefined) throw new Error("a post has its place once it is sent");
    const key = author * numberSpan + place;
    const first = this.#reposts.get(key);
    if (first === undefined) {
      const entry: RepostEntry = { kind: "repost", id: "", cursor: "", author, original };
      this.#reposts.set(key, entry);
      await this.#send(entry, () => session.repost(original.id, { as }));
      this.counts.reposts++;
    } else {
      await this.#inFlight.start(async () => {
        const { id } = await session.repost(original.id, { as });
        this.#repeats.push({ first, id });
      });
      this.counts.repeatedReposts++;
    }
  }

  /** Sends what becomes `entry`; its answer fills in id and cursor. */
  async #send(entry: Entry, ask: () => Promise<Published>): Promise<void> {
    await this.#inFlight.start(async () => {
      this.entries.push(entry);
      const asked = ask();
      this.#unanswered.set(entry, asked);
      try {
        const { id, cursor } = await asked;
        entry.id = id;
        entry.cursor = cursor;
      } finally {
        this.#unanswered.delete(entry);
      }
    });
  }
}
