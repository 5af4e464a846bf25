/* Fan-out: readers that are live, and the one author whom they all follow, in one process: so that the next post can go
 * out as soon as the oldest in flight has reached them all, and never before. */

import { once } from "node:events";
import { connect as connectSocket } from "node:net";

import { connect } from "../../clients/node/index.ts";
import { type Progress, serveAsks } from "../asks.ts";
import { Latency, type Quantiles } from "../latency.ts";
import { type Spent, startMeasuring } from "../measure.ts";
import { Readers } from "./readers.ts";
import { makeTexts } from "./texts.ts";

interface Author {
  post(text: string): Promise<unknown>;
  close(): Promise<void>;
}

const texts = makeTexts({ authors: 1, seed: 1 });
let author: Author;
let readers: Readers;
let subscribers = 0;
let round: Round | undefined;
/** Posts of the rounds before. */
let postsBefore = 0;

/** Posts that are published and counted until all have arrived everywhere. */
class Round {
  readonly latency = new Latency();
  readonly #left: Int32Array;
  readonly #startsMs: Float64Array;
  readonly #first: number;
  #completed = 0;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(first: number, posts: number) {
    this.#first = first;
    this.#left = new Int32Array(posts).fill(subscribers);
    this.#startsMs = new Float64Array(posts);
  }

  /** A reader got its post number `index`. Every reader gets them in the order published. */
  onPost(index: number): void {
    const post = index - this.#first;
    const left = --this.#left[post]!;
    if (left > 0) return;
    this.#completed++;
    this.latency.record(performance.now() - this.#startsMs[post]!);
    this.#wake?.();
  }

  /** Publishes all, `inFlight` of them on their way at once; settles when the last has arrived everywhere. */
  async run(inFlight: number, progress: Progress): Promise<void> {
    const posts = this.#left.length;
    for (let post = 0; post < posts; post++) {
      await this.#until(post - inFlight + 1);
      this.#startsMs[post] = performance.now();
      author.post(texts[post % texts.length]!).catch((error: Error) => {
        this.#failure = error;
        this.#wake?.();
      });
      progress(this.#completed);
    }
    await this.#until(posts);
  }

  /** Waits until so many posts have arrived everywhere. @throws when a publish failed */
  async #until(completed: number): Promise<void> {
    while (this.#completed < completed && this.#failure === undefined) await this.#change();
    if (this.#failure !== undefined) throw this.#failure;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

const handlers = {
  /** Connects the author a0 and the readers r0, r1, …, who follow it already; at a broker, or at a bare loop. */
  async open({ url, count, at }: { url: string; count: number; at: "broker" | "bare loop" }): Promise<void> {
    subscribers = count;
    author = at === "broker" ? await connect(url, { user: "a0" }) : await bareAuthor(url);
    readers = await Readers.open({
      url,
      prefix: "r",
      first: 0,
      count,
      device: "bench",
      from: "live",
      onPost: (index) => round?.onPost(index),
    });
  },

  async fanOut(
    { posts, inFlight }: { posts: number; inFlight: number },
    progress: Progress,
  ): Promise<{ spent: Spent; latency: Quantiles }> {
    round = new Round(postsBefore, posts);
    postsBefore += posts;
    const spent = startMeasuring();
    await Promise.race([round.run(inFlight, progress), readers.failed]);
    return { spent: spent(), latency: round.latency.quantiles };
  },

  async close(): Promise<void> {
    readers.close();
    await author.close();
  },
};
export type FanOutHandlers = typeof handlers;

serveAsks(handlers);

/** A bare loop takes a byte for a post, and answers nothing. */
async function bareAuthor(url: string): Promise<Author> {
  const { hostname, port } = new URL(url);
  const socket = connectSocket({ host: hostname, port: Number(port), noDelay: true });
  await once(socket, "connect");
  return {
    post: async () => socket.write("p"),
    close: async () => void socket.destroy(),
  };
}
