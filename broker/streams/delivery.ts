/* Delivery: one event on its way to many readers.
 *
 * Made once for an entry and shared by every session that gets it: the event map, its encoded body for each encoder, and
 * the frame for each (encoder, subscription number). Who keeps deliveries hears what they come to hold. An encoder belongs to a transport; what its bytes look like is not
 * known here. */

import type { Relation, StreamEvent } from "../../protocol/index.ts";
import type { Offset } from "../state/index.ts";

/** How a transport turns an event into bytes. */
export interface EventEncoder {
  /** A small number of its own: 0, 1, 2, … */
  readonly index: number;
  /** The event's bytes without its subscription number. */
  encodeBody(event: object): Buffer;
  /** What goes into the connection for the subscription `sub`. */
  frame(body: Buffer, sub: number, event: object): Buffer;
}

/** Bytes to write for a subscription; `sub` 0 is none: an answer, a goodbye. */
export interface Frame {
  readonly bytes: Buffer;
  readonly sub: number;
  /** Where the subscription stands once it has this frame. */
  readonly offset: Offset;
  /** Where it must go on from when this frame is dropped. */
  readonly before: Offset;
}

export class Delivery {
  readonly offset: Offset;
  readonly event: StreamEvent;
  readonly #before: Offset;
  readonly #onBytes: ((bytes: number) => void) | undefined;
  readonly #bodies: Buffer[] = [];
  readonly #frames: Map<number, Frame>[] = [];
  /** The frame asked for last: the next reader's is most often the same; */
  #lastFrame: Frame | undefined;
  /** and the index of its encoder. Not the encoder, which can be one connection's own and would keep it here. */
  #lastIndex = -1;
  #related: Map<Relation, Delivery> | undefined;
  #bytes = 0;

  /** `before`: where a reader that did not get it stands. An event that marks a position, not an entry, is at both. */
  constructor(
    offset: Offset,
    event: StreamEvent,
    { before = offset - 1, onBytes }: { before?: Offset; onBytes?: (bytes: number) => void } = {},
  ) {
    this.offset = offset;
    this.event = event;
    this.#before = before;
    this.#onBytes = onBytes;
  }

  /** Bytes encoded so far and held. */
  get bytes(): number {
    return this.#bytes;
  }

  frame(encoder: EventEncoder, sub: number): Frame {
    const last = this.#lastFrame;
    if (last !== undefined && last.sub === sub && this.#lastIndex === encoder.index) return last;
    this.#lastIndex = encoder.index;
    return (this.#lastFrame = this.#findFrame(encoder, sub));
  }

  #findFrame(encoder: EventEncoder, sub: number): Frame {
    const frames = (this.#frames[encoder.index] ??= new Map<number, Frame>());
    let frame = frames.get(sub);
    if (frame === undefined) {
      const body = this.#body(encoder);
      frame = { bytes: encoder.frame(body, sub, this.event), sub, offset: this.offset, before: this.#before };
      // Readers that number their subscriptions alike share frames; one that numbers wildly must not fill the memory.
      if (frames.size < 64) {
        frames.set(sub, frame);
        this.#hold(frame.bytes.length);
      }
    }
    return frame;
  }

  /** The same event with its author's relation to the reader. */
  related(relation: Relation): Delivery {
    this.#related ??= new Map();
    let related = this.#related.get(relation);
    if (related === undefined) {
      const onBytes = (bytes: number): void => this.#hold(bytes);
      related = new Delivery(this.offset, { ...this.event, relation } as StreamEvent, { onBytes });
      this.#related.set(relation, related);
    }
    return related;
  }

  #body(encoder: EventEncoder): Buffer {
    let body = this.#bodies[encoder.index];
    if (body === undefined) {
      body = this.#bodies[encoder.index] = encoder.encodeBody(this.event);
      this.#hold(body.length);
    }
    return body;
  }

  #hold(bytes: number): void {
    this.#bytes += bytes;
    this.#onBytes?.(bytes);
  }
}
