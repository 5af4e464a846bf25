/* EventBuffer: the events a stream holds for its loop, first in, first out, with their bytes on the wire. */

import type { StreamEvent } from "../../protocol/schemas.ts";

export class EventBuffer {
  #events: (StreamEvent | undefined)[] = [];
  #sizes: number[] = [];
  #first = 0;
  #bytes = 0;

  get length(): number {
    return this.#events.length - this.#first;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(event: StreamEvent, bytes: number): void {
    this.#events.push(event);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  shift(): StreamEvent | undefined {
    if (this.#first === this.#events.length) return undefined;
    const event = this.#events[this.#first];
    this.#events[this.#first] = undefined;
    this.#bytes -= this.#sizes[this.#first] as number;
    this.#first++;
    if (this.#first === this.#events.length) this.clear();
    else if (this.#first >= 512 && this.#first * 2 >= this.#events.length) {
      this.#events = this.#events.slice(this.#first);
      this.#sizes = this.#sizes.slice(this.#first);
      this.#first = 0;
    }
    return event;
  }

  clear(): void {
    this.#events = [];
    this.#sizes = [];
    this.#first = 0;
    this.#bytes = 0;
  }
}
