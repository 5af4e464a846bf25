/* Witness: one who posts again and again, and reads it at home, through the SDK and over all nodes, whatever is done to these. */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { SignJWT } from "jose";
import type { Test } from "tap";

import { type Client, connect } from "../../clients/node/index.ts";
import type { Machine } from "./machine.ts";
import { budget } from "../pace.ts";

/** Between two posts, and before one is tried again, in ms. */
const pauseMs = 50;
/** How long what was posted may take to be read, in ms. */
const patienceMs = 30_000;

export class Witness {
  readonly #client: Client;
  readonly #stop = new AbortController();
  /** Names the posts of this one. */
  readonly #run = randomUUID();
  readonly #read: number[] = [];
  #posted = 0;
  #onRead: (() => void) | undefined;
  readonly #posting: Promise<void>;
  readonly #reading: Promise<void>;

  static async start(t: Test, { urls, secret }: { urls: string[]; secret: string }): Promise<Witness> {
    const token = await tokenFor("witness", secret);
    const client = await connect(urls, { token, device: "test", reconnect: { maxMs: 1_000 } });
    const witness = new Witness(client);
    t.teardown(() => witness.#end());
    return witness;
  }

  private constructor(client: Client) {
    this.#client = client;
    const home = client.stream("home", { from: "live" });
    this.#posting = home.opened.then(() => this.#postAll());
    this.#reading = this.#readAll(home);
    this.#reading.catch(() => {}); // `end` tells
  }

  /** How many posts were answered so far. */
  get posted(): number {
    return this.#posted;
  }

  /** Settles once `count` more posts have been answered. */
  async posts(count: number): Promise<void> {
    const due = this.#posted + count;
    while (this.#posted < due) await sleep(pauseMs);
  }

  /** Ends, and checks that all that was answered was read, in order and once. */
  async end(t: Test, what: string): Promise<void> {
    this.#stop.abort();
    await this.#posting;
    const late = AbortSignal.timeout(budget(patienceMs));
    while ((this.#read.at(-1) ?? 0) < this.#posted && !late.aborted) {
      await Promise.race([
        new Promise<void>((resolve) => (this.#onRead = resolve)),
        sleep(budget(patienceMs), undefined, { ref: false }),
      ]);
    }
    const all = Array.from({ length: this.#posted }, (_, i) => i + 1);
    t.ok(all.length > 0);
    t.same(this.#read, all, `${what}: ${all.length} posts, each read once, in order`);
    await this.#end();
  }

  async #postAll(): Promise<void> {
    for (let number = 1; !this.#stop.signal.aborted; number++) {
      await this.#post(number);
      await sleep(pauseMs);
    }
  }

  /** Until it is answered: the key makes one post of all attempts. */
  async #post(number: number): Promise<void> {
    for (;;) {
      try {
        await this.#client.post(`${this.#run} ${number}`, { key: `${this.#run}-${number}` });
        this.#posted = number;
        return;
      } catch {
        if (this.#stop.signal.aborted) return;
        await sleep(pauseMs);
      }
    }
  }

  async #readAll(home: ReturnType<Client["stream"]>): Promise<void> {
    for await (const event of home) {
      if (event.event !== "post") continue;
      const [run, number] = event.post.text.split(" ");
      if (run !== this.#run) continue; // of one before: a node that lags a little is not at its end yet
      this.#read.push(Number(number));
      this.#onRead?.();
    }
  }

  async #end(): Promise<void> {
    this.#stop.abort();
    await this.#client.close();
    await this.#posting;
    await this.#reading;
  }
}

/** A user who asks one machine's node at a time, by HTTP. Rejects with what the node says. */
export class User {
  readonly #handle: string;
  readonly #token: string;

  static async of(handle: string, secret: string): Promise<User> {
    return new User(handle, await tokenFor(handle, secret));
  }

  private constructor(handle: string, token: string) {
    this.#handle = handle;
    this.#token = token;
  }

  /** The id. */
  async post(machine: Machine, text: string): Promise<string> {
    const { id } = await this.#ask<{ id: string }>(machine, "POST", "posts", { text });
    return id;
  }

  async get(machine: Machine, id: string): Promise<string> {
    const { post } = await this.#ask<{ post: { text: string } }>(machine, "GET", `posts/${id}`);
    return post.text;
  }

  /** The texts of one's own. */
  async posts(machine: Machine): Promise<string[]> {
    const { items } = await this.#ask<Page>(machine, "GET", pathOf(`user:${this.#handle}`));
    return textsOf(items);
  }

  /** Reads all of a stream; the cursor after it. */
  async read(machine: Machine, stream: string): Promise<string> {
    const { after } = await this.#ask<Page>(machine, "GET", pathOf(stream));
    return after;
  }

  /** What came after a cursor. */
  async readOn(machine: Machine, stream: string, after: string): Promise<string[]> {
    const { items } = await this.#ask<Page>(machine, "GET", `${pathOf(stream)}?after=${after}`);
    return textsOf(items);
  }

  async #ask<T>(machine: Machine, method: string, path: string, body?: object): Promise<T> {
    const answer = await fetch(`http://${machine.at(5252)}/v1/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as T;
  }
}

interface Page {
  items: { event: string; post?: { text: string } }[];
  after: string;
}

function pathOf(stream: string): string {
  return `streams/${encodeURIComponent(stream)}`;
}

function textsOf(items: Page["items"]): string[] {
  return items.flatMap(({ post }) => (post === undefined ? [] : [post.text]));
}

/** A token of `sub`, as `whalesong token` makes it. */
function tokenFor(sub: string, secret: string): Promise<string> {
  return new SignJWT({ sub, scope: "read write" })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(secret));
}
