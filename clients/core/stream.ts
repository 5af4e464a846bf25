/* Stream: what `for await` reads.
 *
 * One reader. When the loop asks for the next event it has finished with the one before, whose cursor is then
 * acknowledged (unless `ack: "manual"`). Leaving the loop by `break`, `return` or an exception acknowledges nothing
 * more: JavaScript does not tell a `break` from a failure, and an event seen twice beats an event lost. To leave and
 * keep the last one too, call `stream.ack()` before.
 *
 * All ways to stop are one: `break`, the stream's signal, `close()` and the client's end all unsubscribe and end the
 * iteration quietly. A refusal that retrying cannot mend (`epoch_mismatch`, `cursor_too_old`, `forbidden`, …) is thrown
 * from the loop, after the events that had arrived. */

import type { StreamEvent } from "../../protocol/schemas.ts";
import type { AbortSignalLike } from "./platform.ts";
import type { Subscription } from "./subscription.ts";
import { asyncDispose } from "./dispose.ts";

export class Stream implements AsyncIterableIterator<StreamEvent, undefined, undefined> {
  readonly #subscription: Subscription;
  readonly #autoAck: boolean;
  readonly #signal: AbortSignalLike | undefined;
  readonly #onAbort = (): void => this.close();
  #cursor: string | undefined;

  /** Made by `client.stream()`. */
  constructor(
    subscription: Subscription,
    options: { autoAck: boolean; signal?: AbortSignalLike | undefined },
  ) {
    this.#subscription = subscription;
    this.#autoAck = options.autoAck;
    this.#signal = options.signal;
    if (this.#signal?.aborted === true) this.close();
    else this.#signal?.addEventListener("abort", this.#onAbort);
  }

  /** The stream's name, as asked for. */
  get name(): string {
    return this.#subscription.request.stream;
  }

  /** The cursor of the last event the loop was given. */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  /** Resolves once the broker has agreed, with the cursor it began at: what is published from then on arrives. */
  get opened(): Promise<string> {
    return this.#subscription.opened;
  }

  /** Acknowledges everything up to `cursor`, the last event's by default. Sent within about 100 ms, and again after a
   *  reconnection; a device that resumes begins after it. */
  ack(cursor: string | undefined = this.#cursor): void {
    if (cursor !== undefined) this.#subscription.finish(cursor);
  }

  async next(): Promise<IteratorResult<StreamEvent, undefined>> {
    if (this.#autoAck) this.ack();
    try {
      const result = await this.#subscription.next();
      if (result.done === true) this.#leave();
      else this.#cursor = result.value.cursor;
      return result;
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  return(): Promise<IteratorResult<StreamEvent, undefined>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Unsubscribes and ends the iteration; a loop that waits ends now. */
  close(): void {
    this.#leave();
    this.#subscription.end();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  #leave(): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}
