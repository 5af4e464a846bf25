/* Attachments: the subscriptions of one session, by their numbers on the wire, each with its durable cursor. */

import {
  type FieldsOf,
  type RequestOf,
  type ResultOf,
  WhalesongError,
  limits,
} from "../../protocol/index.ts";
import { type CursorKey, type Offset, cursorKey } from "../state/index.ts";
import { type Sink, Subscription } from "../streams/index.ts";
import type { Identity } from "./identity.ts";
import type { SessionServices } from "./sessions.ts";

interface Attachment {
  subscription: Subscription;
  cursor: CursorKey;
  /** The cursor's when it began: once the cursor is sought elsewhere, its acknowledgements come too late. */
  generation: number;
}

export class Attachments {
  readonly #services: SessionServices;
  readonly #sink: Sink;
  readonly #identity: Identity;
  /** Undefined: the number is taken by a subscribe that is not answered yet. */
  readonly #byNumber = new Map<number, Attachment | undefined>();
  #isClosed = false;

  constructor(services: SessionServices, sink: Sink, identity: Identity) {
    this.#services = services;
    this.#sink = sink;
    this.#identity = identity;
  }

  get count(): number {
    return this.#byNumber.size;
  }

  /** Opens a subscription; its first events come after the answer, in a later turn of the event loop. @throws WhalesongError */
  async subscribe(fields: FieldsOf<"subscribe">): Promise<ResultOf<"subscribe">> {
    const number = this.#numberFor(fields);
    this.#byNumber.set(number, undefined);
    try {
      return await this.#open(number, fields);
    } catch (error) {
      this.#byNumber.delete(number);
      throw error;
    }
  }

  async #open(number: number, fields: FieldsOf<"subscribe">): Promise<ResultOf<"subscribe">> {
    const { operations, streams, state } = this.#services;
    const as = typeof fields.as === "string" ? fields.as : undefined;
    const { stream, reader } = await operations.resolveStream(
      { ...fields, as },
      this.#identity.principal!,
      "create",
    );
    const cursor = cursorKey(reader, this.#identity.device, stream.name);
    const { position, generation } = await operations.startOf(fields.from ?? "resume", cursor);
    const subscription = new Subscription(number, stream, this.#sink, position);
    if (!this.#isClosed) {
      this.#byNumber.set(number, { subscription, cursor, generation });
      streams.open(subscription);
    }
    return { sub: number, stream: stream.name, cursor: state.positions.cursor(position) };
  }

  /** Ends a subscription at the client's wish. Nothing of it comes after the answer. @throws `not_found` */
  unsubscribe({ sub }: RequestOf<"unsubscribe">): ResultOf<"unsubscribe"> {
    this.#services.streams.close(this.#get(sub).subscription);
    this.#byNumber.delete(sub);
    return { sub };
  }

  /** Takes note of how far the client is. With an id, answered once that is on disk. @throws `not_found`, `cursor_in_future`, … */
  async acknowledge({ sub, cursor, id }: RequestOf<"ack">): Promise<ResultOf<"ack">> {
    const { state, streams, cursors, operations } = this.#services;
    const attachment = this.#get(sub);
    const offset: Offset = state.positions.parseCursor(cursor);
    if (offset > streams.head) await operations.current();
    if (offset > streams.head) {
      throw new WhalesongError("cursor_in_future", `cursor: ${cursor} is beyond the head`, {
        field: "cursor",
      });
    }
    cursors.acknowledge(attachment.cursor, offset, attachment.generation);
    if (id !== undefined) await cursors.flush();
    return { cursor };
  }

  /** Ends a subscription by the broker's doing. False when it was not open. */
  end(subscription: Subscription): boolean {
    if (this.#byNumber.get(subscription.number)?.subscription !== subscription) return false;
    this.#services.streams.close(subscription);
    return this.#byNumber.delete(subscription.number);
  }

  /** Frames were dropped: their subscriptions catch up from where the first dropped one leaves them. */
  fallBack(positions: Map<number, Offset>): void {
    for (const [sub, position] of positions) {
      const subscription = this.#byNumber.get(sub)?.subscription;
      if (subscription === undefined) continue;
      subscription.fallBack(position);
      this.#services.streams.resume(subscription); // it waits for room by itself
    }
  }

  /** The session has room: those that catch up go on. */
  resume(): void {
    for (const attachment of this.#byNumber.values()) {
      if (attachment?.subscription.state === "catching up")
        this.#services.streams.resume(attachment.subscription);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const attachment of this.#byNumber.values()) {
      if (attachment !== undefined) this.#services.streams.close(attachment.subscription);
    }
    this.#byNumber.clear();
  }

  #numberFor({ as, sub }: FieldsOf<"subscribe">): number {
    if (this.#byNumber.size >= limits.subscriptions) {
      throw new WhalesongError(
        "conflict",
        `subscribe: a session has ${limits.subscriptions} subscriptions at most`,
      );
    }
    const chosen = typeof as === "number" ? as : sub;
    if (chosen === undefined) {
      let number = 1;
      while (this.#byNumber.has(number)) number++;
      return number;
    }
    if (this.#byNumber.has(chosen)) {
      throw new WhalesongError("conflict", `sub: the subscription ${chosen} is open already`, {
        field: "sub",
      });
    }
    return chosen;
  }

  #get(sub: number): Attachment {
    const attachment = this.#byNumber.get(sub);
    if (attachment !== undefined) return attachment;
    throw new WhalesongError("not_found", `sub: there is no subscription ${sub}`, { field: "sub" });
  }
}
