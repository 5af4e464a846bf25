/* Reader: a sink that keeps what it is sent, for subscriptions without a session. */

import type { EventEncoder, Frame, Mark, Sink } from "../../broker/streams/index.ts";
import { offsetOf } from "../sessions/session-client.ts";

const encoder: EventEncoder = {
  index: 0,
  encodeBody: (event) => Buffer.from(JSON.stringify(event)),
  frame: (body) => Buffer.concat([body, Buffer.from("\n")]),
};

export class Reader implements Sink {
  mark: Mark = 0;
  readonly encoder = encoder;
  readonly frames: Frame[] = [];
  #waiters: (() => void)[] = [];

  send(frame: Frame): void {
    this.frames.push(frame);
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  flush(): void {}

  askForRoom(): boolean {
    return true;
  }

  /** The events of entries so far: `post 7`. */
  get events(): string[] {
    return this.frames.flatMap(({ bytes, offset }) => {
      const lines = bytes.toString().trimEnd().split("\n");
      return lines.map((line) => {
        const { event, cursor } = JSON.parse(line) as { event: string; cursor: string };
        return `${event} ${cursor === "" ? offset : offsetOf(cursor)}`;
      });
    });
  }

  async until(isDone: () => boolean): Promise<void> {
    while (!isDone()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  /** Waits for the end of catch-up. */
  live(): Promise<void> {
    return this.until(() => this.events.some((event) => event.startsWith("live")));
  }
}

/** A reader for whom catch-up takes one step at a time. */
export class SteppedReader extends Reader {
  #steps = 0;
  #onRefused = (): void => {};

  override askForRoom(): boolean {
    if (this.#steps-- > 0) return true;
    this.#onRefused();
    return false;
  }

  /** Lets catch-up, which `resume` sets going, take one step. */
  async step(resume: () => void): Promise<void> {
    this.#steps = 1;
    const refused = new Promise<void>((resolve) => (this.#onRefused = resolve));
    resume();
    await Promise.race([refused, this.live()]);
  }
}
