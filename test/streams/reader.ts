/* Reader: a sink that keeps what it is sent, for subscriptions without a session. */

import type { EventEncoder, Frame, Mark, Sink } from "../../broker/streams/index.ts";

const encoder: EventEncoder = {
  index: 0,
  encodeBody: (event) => Buffer.from(JSON.stringify(event)),
  frame: (body) => body,
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
    return this.frames.map(({ bytes, offset }) => {
      const { event } = JSON.parse(bytes.toString()) as { event: string };
      return `${event} ${offset}`;
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
