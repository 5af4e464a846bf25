/* Workload: people who post, reply, repost, delete and follow through the SDK with all nodes' addresses, and readers of several
 * streams, on every node and going from node to node. It goes on while a test breaks things.
 *
 * At the end `check` says whether all that was answered is so, and whether each reader got each entry of its streams once and in
 * order; and it reads every stream again on every node, which must all give the same. */

import { setTimeout as sleep } from "node:timers/promises";

import type { Test } from "tap";

import { type Client, type StreamItem, WhalesongError, connect } from "../../clients/node/index.ts";
import { Random } from "../model/random.ts";
import { offsetOf } from "../sessions/session-client.ts";
import { type Marker, Reading, faultsOfReading } from "./reading.ts";
import { type AnsweredPost, Told } from "./told.ts";

const people = ["ann", "ben", "cleo", "dan"];
/** Reads, and changes nothing. */
const reader = "reader";
/** Whom the reader follows: from before the load to after it, so that `home` can be read again. */
const followed = ["ann", "ben"];
const streams = ["firehose", "home", "mentions", "tag:news", "user:cleo"];
/** Commands that a person has under way, and the longest rest between two. */
const lanes = 3;
const restMs = 60;
/** Whom each person follows before the load begins. */
const oldFriends = 10;
/** Retries of a command that was refused for now. */
const retryMs = 50;
/** The newest posts, from which those to delete, repost and answer are taken. */
const newest = 20;
/** How long readers may take to come to the end, once nothing is broken any more. */
const endMs = 60_000;

/** Comes back soon, and notices soon that a node says nothing any more. */
const eager = { reconnect: { initialMs: 50, maxMs: 500 }, heartbeatMs: 1_500, connectTimeoutMs: 3_000 };

export interface WorkloadOptions {
  /** All nodes' addresses. */
  urls: readonly string[];
  /** Those of the nodes that are read at, each by a reader of its own. @default all */
  readAt?: readonly string[];
  /** The token of a user, where tokens are asked for. */
  tokenOf?: (user: string) => Promise<string>;
}

export class Workload {
  readonly told = new Told();
  readonly #options: WorkloadOptions;
  readonly #random: Random;
  readonly #authors = new Map<string, Client>();
  readonly #clients: Client[] = [];
  readonly #readings: Reading[] = [];
  readonly #newest: AnsweredPost[] = [];
  #work: Promise<unknown> = Promise.resolve();
  #isStopped = false;
  #posts = 0;

  /** Connects everyone and begins. */
  static async for(t: Test, options: WorkloadOptions): Promise<Workload> {
    const random = Random.seeded();
    t.comment(`WHALESONG_SEED=${random.seed}`);
    const load = new Workload(options, random);
    t.teardown(() => load.#end());
    await load.#start();
    return load;
  }

  private constructor(options: WorkloadOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  /** Settles once so many more commands were answered. */
  answers(count: number): Promise<void> {
    return Promise.race([this.told.more(count), this.#work.then(() => this.#failed())]);
  }

  /** Lets everyone finish what is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#work;
  }

  /** Stops, waits until every reader has seen the end, and compares all. Every node must be up. */
  async check(t: Test): Promise<void> {
    await this.stop();
    const markers = await this.#markEnd();
    for (const reading of this.#readings) await reading.until(markerOf(reading.stream, markers), endMs);
    const { told } = this;
    t.comment(`${told.answers} commands answered, ${told.posts.size} of them posts`);
    const { urls } = this.#options;
    for (const stream of streams) {
      const [first, ...others] = await Promise.all(
        urls.map((url) => this.#readAgain(url, stream, markerOf(stream, markers))),
      );
      t.ok(first!.length > 1, `${stream} has ${first!.length} events`);
      for (const [i, other] of others.entries())
        t.same(
          firstDifference(first!, other),
          undefined,
          `${stream} at ${urls[i + 1]} is the same as at ${urls[0]}`,
        );
      const faults = this.#readings
        .filter((reading) => reading.stream === stream)
        .flatMap((r) => faultsOfReading(r, first!));
      t.same(faults.slice(0, 10), [], `every reader of ${stream} got it whole, in order, once`);
      if (stream === "firehose")
        t.same(this.#faultsOfPosts(first!).slice(0, 10), [], "what was answered is so");
    }
    for (const url of urls) t.same(await this.#faultsOfFollows(url), [], `follows are as answered at ${url}`);
    await this.#end();
  }

  async #start(): Promise<void> {
    const { urls, readAt = urls } = this.#options;
    for (const [i, user] of people.entries()) {
      // Each begins at another node.
      const turned = [...urls.slice(i % urls.length), ...urls.slice(0, i % urls.length)];
      this.#authors.set(user, await this.#connect(turned, user, "author"));
    }
    for (const [user, me] of this.#authors) {
      for (let number = 0; number < oldFriends; number++) await me.follow(friend(number));
      for (let number = 0; number < oldFriends; number++)
        this.told.follows.set(`${user} ${friend(number)}`, true);
    }
    const follower = await this.#connect(urls, reader, "follower");
    for (const user of followed) await follower.follow(user);
    const places = [
      ...readAt.map((url) => ({ title: `at ${url}`, at: [url] })),
      { title: "roaming", at: [...urls] },
    ];
    for (const { title, at } of places) {
      const client = await this.#connect(at, reader, title);
      for (const stream of streams) this.#readings.push(new Reading(client, stream, { title, from: "live" }));
    }
    await Promise.all(this.#readings.map((reading) => reading.opened()));
    const work = people.flatMap((user) => [
      ...Array.from({ length: lanes }, () => this.#publish(user, this.#random.fork())),
      this.#follow(user, this.#random.fork()),
    ]);
    this.#work = Promise.all(work);
    this.#work.catch(() => (this.#isStopped = true));
  }

  async #end(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#clients.splice(0).map((client) => client.close()));
  }

  #failed(): never {
    throw new Error("the load has ended");
  }

  async #connect(urls: readonly string[], user: string, device: string): Promise<Client> {
    const { tokenOf } = this.#options;
    const who = tokenOf === undefined ? { user } : { token: await tokenOf(user) };
    // No time limit: what is under way when all is away is answered when it is back.
    let isFirst = true;
    // The first address first; after that, back-off as it is.
    const random = (): number => (isFirst ? Number((isFirst = false)) : Math.random());
    const client = await connect(urls, { ...eager, ...who, device, requestTimeoutMs: 0, random });
    this.#clients.push(client);
    return client;
  }

  async #publish(user: string, random: Random): Promise<void> {
    while (!this.#isStopped) {
      const known = this.#newest.length < newest ? undefined : random.pick(this.#newest);
      const choice = random.below(12);
      if (known !== undefined && choice === 0) await this.#command(user, (me) => me.repost(known.id));
      else if (known !== undefined && choice === 1) await this.#delete(known);
      else await this.#post(user, random, known !== undefined && choice < 4 ? known.id : undefined);
      await sleep(random.below(restMs));
    }
  }

  async #post(user: string, random: Random, replyTo: string | undefined): Promise<void> {
    const number = ++this.#posts;
    const mentions = `@${random.pick([...people, reader])} @${random.pick(people)}`;
    const text = `post ${number} ${mentions}${random.chance(0.3) ? " #news" : ""}`;
    const options = { key: `key ${number}`, ...(replyTo === undefined ? {} : { replyTo }) };
    const answer = await this.#command(user, (me) => me.post(text, options));
    if (answer === undefined) return;
    const post = { author: user, text, id: answer.id };
    this.told.posts.set(offsetOf(answer.id), post);
    this.#newest.push(post);
    if (this.#newest.length > newest) this.#newest.shift();
  }

  async #delete({ id, author }: AnsweredPost): Promise<void> {
    this.told.deleting.add(offsetOf(id));
    await this.#command(author, (me) => me.delete(id));
    this.told.deleted.add(offsetOf(id));
  }

  /** Unfollows the old friends and follows new ones, nobody twice: a request that was sent again may also come late by the first
   *  way, and what it asks for must still be so. */
  async #follow(user: string, random: Random): Promise<void> {
    for (let turn = 0; !this.#isStopped; turn++) {
      const old = turn < oldFriends ? friend(turn) : undefined;
      if (old !== undefined) {
        await this.#command(user, (me) => me.unfollow(old));
        this.told.follows.set(`${user} ${old}`, false);
      }
      const fresh = friend(oldFriends + turn);
      await this.#command(user, (me) => me.follow(fresh));
      this.told.follows.set(`${user} ${fresh}`, true);
      await sleep(random.below(10 * restMs));
    }
  }

  /** Asks until it is answered. Undefined when what it names was deleted meanwhile. */
  async #command<T>(user: string, ask: (me: Client) => Promise<T>): Promise<T | undefined> {
    for (;;) {
      try {
        const answer = await ask(this.#authors.get(user)!);
        this.told.noteAnswer();
        return answer;
      } catch (error) {
        if (!(error instanceof WhalesongError)) throw error;
        if (error.code === "not_found") return undefined;
        if (!error.retryable) throw error;
        await sleep(retryMs);
      }
    }
  }

  /** Posts that every stream shows one of, after all others. */
  async #markEnd(): Promise<Markers> {
    const end = async (user: string): Promise<Marker> => {
      const { id } = (await this.#command(user, (me) => me.post(`the end, @${reader} #news`)))!;
      return { id };
    };
    return { home: await end(followed[0]!), others: await end("cleo") };
  }

  /** A stream from before the first reader's start up to its marker, as a new reader gets it at one node. */
  async #readAgain(url: string, stream: string, marker: Marker): Promise<StreamItem[]> {
    const starts = this.#readings.filter((reading) => reading.stream === stream).map(({ start }) => start);
    const from = starts.reduce((least, start) => (offsetOf(start) < offsetOf(least) ? start : least));
    const client = await this.#connect([url], reader, "again");
    const reading = new Reading(client, stream, { title: `again at ${url}`, from });
    await reading.opened();
    await reading.until(marker, endMs);
    await client.close();
    return reading.events;
  }

  #faultsOfPosts(firehose: readonly StreamItem[]): string[] {
    const { posts, deleted, deleting } = this.told;
    const faults: string[] = [];
    const there = new Map(
      firehose.flatMap((event) => (event.event === "post" ? [[offsetOf(event.post.id), event.post]] : [])),
    );
    const texts = new Map<string, string>();
    for (const { id, text } of there.values()) {
      if (text.startsWith("post ") && texts.has(text))
        faults.push(`"${text}" is there as ${texts.get(text)} and as ${id}`);
      texts.set(text, id);
    }
    for (const [offset, { author, text, id }] of posts) {
      const post = there.get(offset);
      if (post === undefined) {
        if (!deleting.has(offset)) faults.push(`${id} was answered and is not there`);
      } else if (deleted.has(offset)) faults.push(`${id} is there, though its delete was answered`);
      else if (post.author !== author || post.text !== text)
        faults.push(`${id} is not what was answered: ${post.text}`);
    }
    return faults;
  }

  async #faultsOfFollows(url: string): Promise<string[]> {
    const faults: string[] = [];
    for (const user of people) {
      const client = await this.#connect([url], user, "follows");
      const following = new Set(await allFollowedBy(client));
      await client.close();
      for (const [pair, isFollowing] of this.told.follows) {
        const [follower, followee] = pair.split(" ") as [string, string];
        if (follower !== user || following.has(followee) === isFollowing) continue;
        faults.push(`${user} ${isFollowing ? "does not follow" : "follows"} ${followee}`);
      }
    }
    return faults;
  }
}

function friend(number: number): string {
  return `friend${number}`;
}

async function allFollowedBy(client: Client): Promise<string[]> {
  const all: string[] = [];
  let after: string | undefined;
  do {
    const page = await client.following(undefined, after === undefined ? {} : { after });
    all.push(...page.users);
    after = page.after;
  } while (after !== undefined);
  return all;
}

interface Markers {
  home: Marker;
  others: Marker;
}

function markerOf(stream: string, { home, others }: Markers): Marker {
  return stream === "home" ? home : others;
}

/** Where two lists part; undefined when they are the same. */
function firstDifference(one: readonly StreamItem[], other: readonly StreamItem[]): unknown {
  for (let i = 0; i < Math.max(one.length, other.length); i++) {
    if (JSON.stringify(one[i]) !== JSON.stringify(other[i]))
      return { index: i, one: one[i], other: other[i] };
  }
  return undefined;
}
