/* Reading: one stream read through the SDK for as long as a test lasts, whatever happens to the node that serves it.
 *
 * What it must have been given is decided by reading the same again when all is over. A post that was deleted later is not
 * there any more: it may have been seen and need not be read again. */

import { type Client, type StreamEvent, type StreamItem } from "../../clients/node/index.ts";
import { offsetOf } from "../sessions/session-client.ts";
import { budget } from "../pace.ts";

/** Whom each stream must hear of last: all are told of one of these posts. */
export interface Marker {
  id: string;
}

export class Reading {
  /** Who reads, and what: for messages. */
  readonly title: string;
  readonly stream: string;
  /** In order of arrival. */
  readonly events: StreamItem[] = [];
  /** What was not as it must be. */
  readonly faults: string[] = [];
  readonly #isOpened: Promise<string>;
  #start = "";
  #last = 0;
  #onEvent: (() => void) | undefined;

  /** Begins to read; `from` is a stream's start as the SDK takes it. */
  constructor(client: Client, stream: string, { title, from }: { title: string; from: string }) {
    this.title = `${title}, ${stream}`;
    this.stream = stream;
    const events = client.stream(stream, { from });
    this.#isOpened = events.opened;
    void this.#read(events);
  }

  /** Settles once the broker has agreed. */
  async opened(): Promise<void> {
    this.#start = await this.#isOpened;
    this.#last = Math.max(this.#last, offsetOf(this.#start));
  }

  /** The cursor at which it began. */
  get start(): string {
    return this.#start;
  }

  /** Settles once this post was seen. @throws when it does not come in time */
  async until({ id }: Marker, withinMs: number): Promise<void> {
    const isMarker = (event: StreamItem | undefined): boolean =>
      event?.event === "post" && event.post.id === id;
    if (this.events.some(isMarker)) return;
    const late = AbortSignal.timeout(budget(withinMs));
    await new Promise<void>((resolve, reject) => {
      this.#onEvent = () => {
        if (this.faults.length > 0) reject(new Error(`${this.title}: ${this.faults.join("; ")}`));
        if (isMarker(this.events.at(-1))) resolve();
      };
      late.addEventListener("abort", () =>
        reject(
          new Error(`${this.title}: it did not come to ${id} within ${withinMs} ms, but to ${this.#last}`),
        ),
      );
      this.#onEvent();
    });
    this.#onEvent = undefined;
  }

  async #read(events: AsyncIterable<StreamEvent>): Promise<void> {
    try {
      for await (const event of events) {
        if (event.event === "live" || event.event === "cursor") continue;
        const offset = offsetOf(event.cursor);
        if (offset <= this.#last) this.faults.push(`${offset} came after ${this.#last}`);
        this.#last = offset;
        this.events.push(event);
        this.#onEvent?.();
      }
    } catch (error) {
      this.faults.push(`the stream ended: ${(error as Error).message}`);
      this.#onEvent?.();
    }
  }
}

export type WhatWasRead = Pick<Reading, "title" | "start" | "events" | "faults">;

/** What `reading` missed, or was given and should not have been, by what the same stream gives now from its start on. */
export function faultsOfReading(reading: WhatWasRead, now: readonly StreamItem[]): string[] {
  const faults = [...reading.faults];
  const start = offsetOf(reading.start);
  const expected = now.filter(({ cursor }) => offsetOf(cursor) > start);
  const deleted = new Set(expected.flatMap((event) => (event.event === "delete" ? [event.id] : [])));
  const seen = new Map(reading.events.map((event) => [event.cursor, JSON.stringify(event)]));
  const there = new Set(expected.map(({ cursor }) => cursor));
  for (const event of expected) {
    const before = seen.get(event.cursor);
    if (before === undefined) faults.push(`missed ${describe(event)}`);
    else if (before !== JSON.stringify(event))
      faults.push(`saw ${before}, and it is ${JSON.stringify(event)}`);
  }
  for (const event of reading.events) {
    if (there.has(event.cursor) || (event.event !== "delete" && isGone(event, deleted))) continue;
    faults.push(`saw ${describe(event)}, which is not of the stream`);
  }
  return faults.map((fault) => `${reading.title}: ${fault}`);
}

function isGone(event: Exclude<StreamItem, { event: "delete" }>, deleted: ReadonlySet<string>): boolean {
  const id = event.event === "repost" ? event.id : event.post.id;
  return deleted.has(id) || deleted.has(event.post.id);
}

function describe(event: StreamItem): string {
  const what = event.event === "delete" ? event.id : event.post.id;
  return `${event.event} ${what} at ${event.cursor}`;
}
