/* Attachments: the subscriptions of one session, by their numbers on the wire, each with its durable cursor. */

import {
  type FieldsOf,
  type RequestOf,
  type ResultOf,
  WhalesongError,
  limits,
} from "../../protocol/index.ts";
import type { CursorKey, Offset } from "../state/index.ts";
import { type Sink, type Stream, Subscription } from "../streams/index.ts";
import type { Identity } from "./identity.ts";
import { requireReading } from "./principal.ts";
import type { CursorName } from "./readers.ts";
import type { SessionServices } from "./sessions.ts";

interface Attachment {
  readonly number: number;
  /** Undefined: the number is taken by a subscribe that is not answered yet. */
  subscription: Subscription | undefined;
  /** Whom it is read as, where that was said. */
  as: string | undefined;
  /** Its reader's handle. */
  reader: string;
  /** What it asked for; undefined until that is resolved. */
  stream: Stream | undefined;
  /** Undefined while the reader is no user who stays, and so has no cursor. */
  cursor: CursorKey | undefined;
  /** The cursor's when it began: once the cursor is sought elsewhere, its acknowledgements come too late. */
  generation: number;
  /** It resumed from its cursor. */
  isResumed: boolean;
  /** Its cursor is that of a user who could not be made one who stays: that is tried again as it acknowledges. */
  isOwed: boolean;
}

type OpenAttachment = Attachment & { subscription: Subscription };

const none: readonly Attachment[] = [];

export class Attachments {
  readonly #services: SessionServices;
  readonly #sink: Sink;
  readonly #identity: Identity;
  /** A session has few, most have one: an array of just so many takes a quarter of what a Map does. */
  #held = none;
  #isClosed = false;

  constructor(services: SessionServices, sink: Sink, identity: Identity) {
    this.#services = services;
    this.#sink = sink;
    this.#identity = identity;
  }

  get count(): number {
    return this.#held.length;
  }

  /** Opens a subscription; its first events come after the answer, in a later turn of the event loop. @throws WhalesongError */
  async subscribe(fields: FieldsOf<"subscribe">): Promise<ResultOf<"subscribe">> {
    const attachment = {
      number: this.#numberFor(fields),
      subscription: undefined,
      as: typeof fields.as === "string" ? fields.as : undefined,
      reader: "",
      stream: undefined,
      cursor: undefined,
      generation: 0,
      isResumed: false,
      isOwed: false,
    };
    this.#held = this.#held.concat(attachment); // exactly as long as it has to be, as no spread is
    try {
      return await this.#open(attachment, fields);
    } catch (error) {
      this.#forget(attachment);
      throw error;
    }
  }

  async #open(attachment: Attachment, fields: FieldsOf<"subscribe">): Promise<ResultOf<"subscribe">> {
    const { operations, streams, state } = this.#services;
    const { places, readers } = operations;
    const principal = this.#identity.principal!;
    const { device } = this.#identity;
    const { as } = attachment;
    const from = fields.from ?? "resume";
    const turn = places.turn();
    const { stream, reader } = await operations.resolveStream({ ...fields, as }, principal, "await");
    this.#take(attachment, stream, reader);
    operations.chargeSubscription(principal, stream);
    const name = { reader, device, stream: stream.name };
    let cursor = readers.keyOf(name);
    const isNobody = cursor === undefined;
    if (from === "resume") cursor ??= await readers.make(name, principal);
    const charge = isNobody ? undefined : () => readers.charge(principal);
    const { position, generation } = await places.startOf(from, cursor, turn, charge);
    requireReading(this.#identity.principal!, { kind: stream.kind, as }); // it may have changed in between
    if (!this.#isClosed) {
      attachment.subscription = new Subscription(attachment.number, stream, this.#sink, position);
      attachment.cursor = cursor;
      attachment.generation = generation;
      attachment.isOwed = cursor !== undefined && readers.keyOf(name) === undefined;
      if (from === "resume") this.#watch(attachment, name);
      streams.open(attachment.subscription);
    }
    return { sub: attachment.number, stream: stream.name, cursor: state.positions.cursor(position) };
  }

  /** Ends a subscription at the client's wish. Nothing of it comes after the answer. @throws `not_found` */
  unsubscribe({ sub }: RequestOf<"unsubscribe">): ResultOf<"unsubscribe"> {
    const attachment = this.#get(sub);
    this.#services.streams.close(attachment.subscription);
    this.#forget(attachment);
    return { sub };
  }

  /** Takes note of how far the client is. With an id, answered once that is on disk. @throws `not_found`, `cursor_in_future`, … */
  async acknowledge({ sub, cursor, id }: RequestOf<"ack">): Promise<ResultOf<"ack">> {
    const { cursors, operations } = this.#services;
    const attachment = this.#get(sub);
    const reached = operations.places.reached(cursor, "cursor");
    let offset: Offset;
    if (typeof reached === "number")
      offset = reached; // in its turn wherever that can be
    else {
      offset = await reached;
      this.#requireRights(attachment);
    }
    if (attachment.cursor === undefined) {
      attachment.cursor = this.#keyOf(attachment) ?? (await this.#makeReader(attachment));
      this.#requireRights(attachment);
    } else if (attachment.isOwed) void this.#claim(attachment);
    cursors.acknowledge(attachment.cursor, offset, attachment.generation);
    if (id !== undefined) await cursors.flush(attachment.cursor);
    return { cursor };
  }

  /** What the session may no longer read, and why. To be asked whenever its rights have changed. */
  get forbidden(): { subscription: Subscription; error: WhalesongError }[] {
    const found: { subscription: Subscription; error: WhalesongError }[] = [];
    for (const attachment of this.#held) {
      if (attachment.subscription === undefined) continue; // looked at when it opens
      try {
        this.#requireRights(attachment as OpenAttachment);
      } catch (error) {
        found.push({ subscription: attachment.subscription, error: error as WhalesongError });
      }
    }
    return found;
  }

  #requireRights({ subscription: { stream }, as }: OpenAttachment): void {
    requireReading(this.#identity.principal!, { kind: stream.kind, as });
  }

  #keyOf(attachment: OpenAttachment): CursorKey | undefined {
    return this.#services.operations.readers.keyOf(this.#nameOf(attachment));
  }

  /** Tries again to have the cursor's user stay. One who was dropped meanwhile is another now, with a cursor of their own. */
  async #claim(attachment: OpenAttachment): Promise<void> {
    attachment.isOwed = false;
    const key = await this.#makeReader(attachment).catch(() => attachment.cursor!);
    attachment.isOwed = this.#keyOf(attachment) === undefined;
    if (key === attachment.cursor || !this.#held.includes(attachment)) return;
    const { isResumed } = attachment;
    attachment.isResumed = false;
    this.#unwatch({ ...attachment, isResumed });
    attachment.cursor = key;
    if (isResumed) this.#watch(attachment, this.#nameOf(attachment));
  }

  /** What they have acknowledged is to be kept: they become a user. */
  #makeReader(attachment: OpenAttachment): Promise<CursorKey> {
    const { readers } = this.#services.operations;
    return readers.make(this.#nameOf(attachment), this.#identity.principal!);
  }

  #nameOf({ reader, subscription }: OpenAttachment): CursorName {
    return { reader, device: this.#identity.device, stream: subscription.stream.name };
  }

  /** Ends a subscription by the broker's doing. False when it was not open. */
  end(subscription: Subscription): boolean {
    const attachment = this.#find(subscription.number);
    if (attachment?.subscription !== subscription) return false;
    this.#services.streams.close(subscription);
    this.#forget(attachment);
    return true;
  }

  /** Frames were dropped: their subscriptions catch up from where the first dropped one leaves them. */
  fallBack(positions: Map<number, Offset>): void {
    for (const [sub, position] of positions) {
      const subscription = this.#find(sub)?.subscription;
      if (subscription === undefined) continue;
      subscription.fallBack(position);
      this.#services.streams.resume(subscription); // it waits for room by itself
    }
  }

  /** The session has room: those that catch up go on. */
  resume(): void {
    for (const { subscription } of this.#held) {
      if (subscription?.state === "catching up") this.#services.streams.resume(subscription);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const { subscription } of this.#held) {
      if (subscription !== undefined) this.#services.streams.close(subscription);
    }
    for (const attachment of this.#held) this.#forget(attachment);
  }

  #numberFor({ as, sub }: FieldsOf<"subscribe">): number {
    if (this.#held.length >= limits.subscriptions) {
      throw new WhalesongError(
        "conflict",
        `subscribe: a session has ${limits.subscriptions} subscriptions at most`,
      );
    }
    const chosen = typeof as === "number" ? as : sub;
    if (chosen === undefined) {
      let number = 1;
      while (this.#find(number) !== undefined) number++;
      return number;
    }
    if (this.#find(chosen) !== undefined) {
      throw new WhalesongError("conflict", `sub: the subscription ${chosen} is open already`, {
        field: "sub",
      });
    }
    return chosen;
  }

  /** The same stream with the same filter is open once: each subscription is sent all of it. */
  #take(attachment: Attachment, stream: Stream, reader: string): void {
    const same = this.#held.find(
      (other) => other.stream !== undefined && other.reader === reader && isSame(other.stream, stream),
    );
    if (same !== undefined) {
      throw new WhalesongError(
        "conflict",
        `stream: ${stream.name} is open with this filter, as subscription ${same.number}: use that one`,
        { field: "stream" },
      );
    }
    attachment.stream = stream;
    attachment.reader = reader;
  }

  #find(number: number): Attachment | undefined {
    for (const attachment of this.#held) if (attachment.number === number) return attachment;
    return undefined;
  }

  #forget(gone: Attachment): void {
    const at = this.#held.indexOf(gone);
    if (at < 0) return;
    this.#held = this.#held.toSpliced(at, 1);
    this.#unwatch(gone);
  }

  /** Two subscriptions of this session may share a cursor: it is other sessions that are to be noticed. */
  #watch(attachment: Attachment, name: CursorName): void {
    if (!this.#isResumedFrom(attachment.cursor!))
      this.#services.sharedCursors.enter(attachment.cursor!, name);
    attachment.isResumed = true;
  }

  #unwatch({ isResumed, cursor }: Attachment): void {
    if (isResumed && !this.#isResumedFrom(cursor!)) this.#services.sharedCursors.leave(cursor!);
  }

  #isResumedFrom(key: CursorKey): boolean {
    return this.#held.some(({ isResumed, cursor }) => isResumed && cursor === key);
  }

  #get(sub: number): OpenAttachment {
    const attachment = this.#find(sub);
    if (attachment?.subscription !== undefined) return attachment as OpenAttachment;
    throw new WhalesongError("not_found", `sub: there is no subscription ${sub}`, { field: "sub" });
  }
}

/** Whether two streams of one reader hold the same. */
function isSame(one: Stream, other: Stream): boolean {
  return (
    one.name === other.name &&
    (one.filter.replies ?? "followed") === (other.filter.replies ?? "followed") &&
    (one.filter.from ?? "everyone") === (other.filter.from ?? "everyone")
  );
}
