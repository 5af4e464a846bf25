/* Subscription: a session's live attachment to a stream.
 *
 *   catching up ──reached the head──> live ──outbox dropped, or a look back of many steps──> catching up
 *         └──────────────── closed <──────┘
 *
 * `position` is the one truth about where it stands: every entry of the stream up to it has been handed to the session,
 * none after it. Live delivery skips a subscription whose position is not before the entry, so an entry that reaches it by
 * two topics, or by catch-up and live delivery both, is handed over once. */

import type { Offset, UserNo } from "../state/index.ts";
import type { Delivery, EventEncoder, Frame } from "./delivery.ts";
import type { Mark } from "./flusher.ts";
import type { Lookback } from "./home.ts";
import type { MergeAfter, Source } from "./merge.ts";
import { Recent } from "./recent.ts";
import type { Stream } from "./stream.ts";

/** Where a subscription's frames go: a session. */
export interface Sink {
  /** The flusher's note of it. */
  mark: Mark;
  readonly encoder: EventEncoder;
  /** Queues a frame. */
  send(frame: Frame): void;
  /** Whether little enough is queued for catch-up to go on. If not, the sink resumes it once that is so. */
  askForRoom(): boolean;
  /** Writes what is queued to the connection. */
  flush(): void;
}

export class Subscription {
  /** Its number on the wire. */
  readonly number: number;
  readonly stream: Stream;
  readonly sink: Sink;
  /** Whether its stream shows every post of its topics that is no reply. Kept here, where fan-out looks anyway. */
  readonly showsAllPosts: boolean;
  position: Offset;
  state: "catching up" | "live" | "closed" = "catching up";
  /** Its node in the interest index; 0 while it has none. */
  node = 0;
  /** The offset of the last event of any kind sent, `cursor` events included. */
  told: Offset;
  /** And what it was at the tick before. */
  toldBefore: Offset = 0;
  /** Catch-up has it in hand: it waits for its turn, or for what was read to be durable. */
  isQueued = false;
  /** A merge that catch-up has begun, and the offset it goes up to. */
  round: { merge: MergeAfter; upTo: Offset } | undefined = undefined;
  /** The sources of the next merge, as far as they are known: of a reader who follows very many. */
  plan: { sources: Source[]; after: UserNo; upTo: Offset } | undefined = undefined;
  /** Linking to very many authors is under way: all with a number up to `after` are, and those that fan-out told of. */
  linking: { after: UserNo; told: Set<UserNo> } | undefined = undefined;
  /** A look back that comes before its next event. */
  lookback: Lookback | undefined = undefined;
  readonly #encoder: EventEncoder;
  #recent: Recent | undefined = undefined;
  /** Live frames that wait until what catch-up has read before them is durable. */
  #held: Frame[] | undefined = undefined;

  constructor(number: number, stream: Stream, sink: Sink, position: Offset) {
    this.number = number;
    this.stream = stream;
    this.sink = sink;
    this.#encoder = sink.encoder;
    this.showsAllPosts = stream.kind !== "mentions";
    this.position = position;
    this.told = position;
  }

  /** The originals of its last candidates. Noted from when they are first asked for: most readers meet no repost. */
  get recent(): Recent {
    return (this.#recent ??= new Recent());
  }

  /** Notes a candidate's original. */
  note(original: Offset): void {
    this.#recent?.note(original);
  }

  /** Hands an event over; its offset becomes the position. */
  deliver(delivery: Delivery): void {
    const frame = delivery.frame(this.#encoder, this.number);
    this.position = frame.offset;
    this.hand(frame);
  }

  /** Hands a frame over. The position stays what catch-up, which knows what a page covers, has made it. */
  hand(frame: Frame): void {
    this.told = frame.offset;
    if (this.#held === undefined) this.sink.send(frame);
    else this.#held.push(frame);
  }

  /** From now on `deliver` keeps frames back. */
  hold(): void {
    this.#held ??= [];
  }

  /** Sends what was kept back. */
  release(): void {
    const held = this.#held;
    if (held === undefined) return;
    for (const frame of held) {
      // A frame too many makes the session drop its outbox, and this fall back: what is left comes again by catch-up.
      if (this.#held !== held || this.state === "closed") return;
      this.sink.send(frame);
    }
    if (this.#held === held) this.#held = undefined;
  }

  /** Whether the entry that comes next is shown takes a look back first. */
  await(lookback: Lookback): void {
    this.state = "catching up";
    this.position = lookback.at - 1;
    this.lookback = lookback;
  }

  /** What catch-up had begun holds no more: its stream is another user's. */
  beginAnew(): void {
    this.round = undefined;
    this.plan = undefined;
    this.linking = undefined;
    this.lookback = undefined;
  }

  /** Goes back to `position`: what was handed over after it was dropped before it was written. */
  fallBack(position: Offset): void {
    if (this.state === "closed") return;
    this.state = "catching up";
    this.position = Math.min(this.position, position);
    this.told = this.position;
    this.round = undefined;
    this.plan = undefined;
    this.lookback = undefined;
    this.#recent = undefined;
    this.#held = undefined;
  }
}
