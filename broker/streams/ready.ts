/* Ready: the bytes of the newest plain posts, and the page of catch-up that is being put together from them.
 *
 *   one array of bytes:   page | frame | frame | frame | …
 *   (encoder, subscription number), offset % tailSize  ──>  where the frame is, and its length
 *
 * A crowd that comes back at once reads the same few thousand posts, each reader some of them. Asked for one by one a post
 * is its entry, its delivery, its frame and its bytes, each somewhere else in memory, and waiting for memory was most of
 * what catching up cost. Here a post is found by its place in flat arrays and moved within one array of bytes: no object is
 * touched or made. The page is copied out once, when it is whole.
 *
 * Holds what somebody asked for. When it is full it is emptied and begins anew: what is asked for again is put there again. */

import type { Offset } from "../state/index.ts";
import type { EventEncoder } from "./delivery.ts";
import { tailSize } from "./tail.ts";

/** Bytes of frames held at most. */
const mostBytes = 33_554_432;
/** Bytes of frames at first; doubled when they are not enough. */
const firstBytes = 1_048_576;
/** A longer frame is not kept: copying it is most of what it costs in any case. */
const mostFrameBytes = 8_192;
/** Greatest subscription number with frames of its own: most clients have few subscriptions. */
const mostSub = 4;
/** Room for a page, at first. */
const firstPageBytes = 524_288;

export class Ready {
  #pageBytes = firstPageBytes;
  #bytes = new Uint8Array(firstPageBytes + firstBytes);
  /** End of the page, */
  #page = 0;
  /** and of the frames. */
  #end = firstPageBytes;
  readonly #byReader = new Map<number, Places>();

  /** Where frames for subscriptions of that number and encoder are; undefined when none are kept. */
  places(encoder: EventEncoder, sub: number): Places | undefined {
    if (sub > mostSub) return undefined;
    const key = encoder.index * (mostSub + 1) + sub;
    let places = this.#byReader.get(key);
    if (places === undefined) this.#byReader.set(key, (places = new Places()));
    return places;
  }

  /** Keeps the frame of a plain post. */
  keep(places: Places, offset: Offset, frame: Uint8Array): void {
    if (frame.length > mostFrameBytes) return;
    if (this.#end + frame.length > this.#bytes.length) this.#makeRoom();
    this.#bytes.set(frame, this.#end);
    places.set(offset, this.#end, frame.length);
    this.#end += frame.length;
  }

  /** Begins a page. */
  begin(): void {
    this.#page = 0;
  }

  /** Adds the post at `offset` to the page. Returns the bytes it took; 0 when it is not kept. */
  addKept(places: Places, offset: Offset): number {
    const slot = offset % tailSize;
    if (places.offsets[slot] !== offset) return 0;
    const start = places.starts[slot]!;
    const length = places.lengths[slot]!;
    if (this.#page + length > this.#pageBytes) return 0; // `add` makes room
    this.#bytes.copyWithin(this.#page, start, start + length);
    this.#page += length;
    return length;
  }

  /** Adds a frame to the page. */
  add(frame: Uint8Array): void {
    if (this.#page + frame.length > this.#pageBytes) this.#enlargePage(frame.length);
    this.#bytes.set(frame, this.#page);
    this.#page += frame.length;
  }

  /** The page's bytes, to keep. */
  take(): Buffer {
    const page = Buffer.allocUnsafe(this.#page);
    page.set(this.#bytes.subarray(0, this.#page));
    return page;
  }

  #makeRoom(): void {
    if (this.#bytes.length - this.#pageBytes >= mostBytes) {
      this.#clear();
      return;
    }
    const larger = new Uint8Array(this.#pageBytes + 2 * (this.#bytes.length - this.#pageBytes));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  #enlargePage(bytes: number): void {
    const pageBytes = Math.max(2 * this.#pageBytes, this.#page + bytes);
    const larger = new Uint8Array(pageBytes + this.#bytes.length - this.#pageBytes);
    larger.set(this.#bytes.subarray(0, this.#page));
    this.#bytes = larger;
    this.#pageBytes = pageBytes;
    this.#clear();
  }

  #clear(): void {
    for (const places of this.#byReader.values()) places.offsets.fill(0);
    this.#end = this.#pageBytes;
  }
}

/** Where the frames of one kind of subscription are, by offset % tailSize. There is no offset 0. */
class Places {
  readonly offsets = new Float64Array(tailSize);
  readonly starts = new Uint32Array(tailSize);
  readonly lengths = new Uint32Array(tailSize);

  set(offset: Offset, start: number, length: number): void {
    const slot = offset % tailSize;
    this.offsets[slot] = offset;
    this.starts[slot] = start;
    this.lengths[slot] = length;
  }
}
export type { Places };
