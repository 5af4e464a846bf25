/* Subscribers: readers, each on a session and a socket of its own, who note what arrives on `home` and `mentions`.
 *
 * A stream's position is the cursor of its last event of any kind; it has reached the head when nothing published up
 * to there can still come. */

import type { StreamEvent } from "../../../protocol/schemas.ts";
import { compareCursors } from "../../core/cursors.ts";
import type { Client } from "../../core/index.ts";
import type { Delivery } from "./expectation.ts";

export const subscribedStreams = ["home", "mentions"] as const;
export type SubscribedStream = (typeof subscribedStreams)[number];

/** Sessions opened at once. */
const opening = 32;

/** One stream of one reader. */
export class StreamWatch {
  readonly received: Delivery[] = [];
  /** Settles when the stream is live; rejects when it ends before. */
  readonly live: Promise<void>;
  #position: string | undefined;
  #goLive!: () => void;
  #fail!: (error: unknown) => void;
  #failed = false;
  #error: unknown;
  readonly #onEvent: (event: StreamEvent) => void;

  constructor(onEvent: (event: StreamEvent) => void) {
    this.#onEvent = onEvent;
    this.live = new Promise((resolve, reject) => {
      this.#goLive = resolve;
      this.#fail = reject;
    });
    // What ends a stream is thrown by `hasReached`, whoever waits for it.
    this.live.catch(() => {});
  }

  /** Notes events until the stream ends. Does not reject. */
  async watch(stream: AsyncIterable<StreamEvent>): Promise<void> {
    try {
      for await (const event of stream) this.#note(event);
      this.#end(new Error("the stream ended"));
    } catch (error) {
      this.#end(error);
    }
  }

  /** @throws what ended the stream */
  hasReached(head: string): boolean {
    if (this.#failed) throw this.#error;
    if (this.#position === undefined) return false;
    const order = compareCursors(this.#position, head);
    return order !== undefined && order >= 0;
  }

  #note(event: StreamEvent): void {
    this.#position = event.cursor;
    if (event.event === "live") this.#goLive();
    else if (event.event === "post")
      this.received.push({ cursor: event.cursor, what: `post ${event.post.id}` });
    else if (event.event === "repost")
      this.received.push({ cursor: event.cursor, what: `repost ${event.id}` });
    else if (event.event === "delete")
      this.received.push({ cursor: event.cursor, what: `delete ${event.id}` });
    this.#onEvent(event);
  }

  #end(error: unknown): void {
    this.#failed = true;
    this.#error = error;
    this.#fail(error);
  }
}

export interface Subscriber {
  user: number;
  session: Client;
  streams: Record<SubscribedStream, StreamWatch>;
}

export interface SubscriberOptions {
  users: readonly number[];
  open: (user: number) => Promise<Client>;
  signal: AbortSignal;
  onOpened?: () => void;
}

export interface ReachOptions {
  stallMs: number;
  signal: AbortSignal;
  /** Told how many streams have reached it. */
  onReached?: (streams: number) => void;
}

export class Subscribers {
  readonly all: Subscriber[] = [];
  /** Posts and reposts that arrived, on all streams together. */
  deliveries = 0;
  /** When the last of them arrived, as performance.now(). */
  lastDeliveryMs = 0;
  /** Connections lost and made again. */
  reconnects = 0;
  #progress = 0;
  #wake: (() => void) | undefined;

  /** Connects every user and waits until all their streams are live. */
  async open({ users, open, signal, onOpened }: SubscriberOptions): Promise<void> {
    const left = users.values();
    let failed = false;
    const work = async (): Promise<void> => {
      for (const user of left) {
        // Once one cannot be opened no more are, so that `close` finds all that were.
        if (failed) return;
        const session = await open(user);
        session.on("disconnect", () => this.reconnects++);
        const streams = { home: this.#watch(), mentions: this.#watch() };
        this.all.push({ user, session, streams });
        for (const name of subscribedStreams) {
          void streams[name].watch(session.stream(name, { from: "live", signal }));
        }
        await Promise.all([streams.home.live, streams.mentions.live]);
        onOpened?.();
      }
    };
    const workers = Array.from({ length: opening }, () =>
      work().catch((error: unknown) => {
        failed = true;
        throw error;
      }),
    );
    const refused = (await Promise.allSettled(workers)).find((worker) => worker.status === "rejected");
    if (refused !== undefined) throw refused.reason;
  }

  /** Waits until all streams have reached `head`, or nothing at all has arrived for `stallMs`. Answers how many have not. */
  async reach(head: string, { stallMs, signal, onReached }: ReachOptions): Promise<number> {
    let behind = this.all.flatMap(({ streams }) => subscribedStreams.map((name) => streams[name]));
    let seen = -1;
    for (;;) {
      signal.throwIfAborted();
      behind = behind.filter((stream) => !stream.hasReached(head));
      onReached?.(this.all.length * subscribedStreams.length - behind.length);
      if (behind.length === 0 || seen === this.#progress) return behind.length;
      seen = this.#progress;
      await this.#eventOr(stallMs, signal);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map(({ session }) => session.close()));
  }

  #watch(): StreamWatch {
    return new StreamWatch((event) => {
      this.#progress++;
      if (event.event !== "live" && event.event !== "cursor") {
        this.deliveries++;
        this.lastDeliveryMs = performance.now();
      }
      this.#wake?.();
    });
  }

  /** Settles at the next event (a little later, so that a burst is looked at once), or after `ms` without any. */
  #eventOr(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done, { once: true });
      this.#wake = () => {
        this.#wake = undefined;
        setTimeout(done, lookMs);
      };
    });
  }
}

/** Between two looks at all streams. */
const lookMs = 50;
