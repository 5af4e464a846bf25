/* Readers: many small readers of this process, as one. */

import { type Kind, Reader } from "./reader.ts";

export interface ReadersOptions {
  url: string;
  /** Handles are `${prefix}${number}`, from `first` on. */
  prefix: string;
  first: number;
  count: number;
  device: string;
  from: "resume" | "live";
  /** A reader got a post; `index` counts the posts it got before. */
  onPost?: (index: number) => void;
  /** So many readers are live. */
  onLive?: (live: number) => void;
}

/** Connections being made at once: within any listen backlog. */
const connectingAtOnce = 256;

export class Readers {
  readonly #options: ReadersOptions;
  readonly #readers: Reader[] = [];
  readonly #failed: Promise<never>;
  #fail: (error: Error) => void = () => {};
  #settleLive: () => void = () => {};
  #connected = 0;
  #live = 0;
  #posts = 0;

  private constructor(options: ReadersOptions) {
    this.#options = options;
    this.#failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.#failed.catch(() => {}); // told to whoever waits, then or later
  }

  /** Connects and subscribes all; settles when the last is live. */
  static async open(options: ReadersOptions): Promise<Readers> {
    const readers = new Readers(options);
    const live = new Promise<void>((resolve) => (readers.#settleLive = resolve));
    for (let i = 0; i < Math.min(connectingAtOnce, options.count); i++) readers.#connectNext();
    await Promise.race([live, readers.#failed]);
    return readers;
  }

  /** Rejects when a connection ends that was not closed from here. */
  get failed(): Promise<never> {
    return this.#failed;
  }

  /** Posts that all readers got together. */
  get posts(): number {
    return this.#posts;
  }

  /** Readers that did not get `count` posts each. */
  unlike(count: number): number {
    return this.#readers.filter((reader) => reader.posts !== count).length;
  }

  close(): void {
    for (const reader of this.#readers) reader.close();
  }

  /** The next one connects when the broker has taken one before: a crowd that comes as fast as it is let in. */
  #connectNext(): void {
    const { url, prefix, first, count, device, from } = this.#options;
    if (this.#connected === count) return;
    const { hostname, port } = new URL(url);
    const user = `${prefix}${first + this.#connected++}`;
    const reader: Reader = new Reader({
      host: hostname,
      port: Number(port),
      user,
      device,
      from,
      onSubscribed: () => this.#connectNext(),
      onEvent: (kind) => this.#take(reader, kind),
      onEnd: (error) => this.#fail(error),
    });
    this.#readers.push(reader);
  }

  #take(reader: Reader, kind: Kind): void {
    if (kind === "post") {
      this.#posts++;
      const index = reader.posts++;
      this.#options.onPost?.(index);
    } else if (kind === "live") {
      this.#live++;
      this.#options.onLive?.(this.#live);
      if (this.#live === this.#options.count) this.#settleLive();
    } else if (kind === "other") {
      this.#fail(new Error("a reader got an event that no figure asks for"));
    }
  }
}
