/* Compression: WebSocket frames by permessage-deflate (RFC 7692), an entry deflated once for all who get it.
 *
 *   FIN RSV1 opcode | length | 00 LEN NLEN {"sub":7, | "event":"post",… deflated
 *                              a block that is stored   the same bytes for every subscription number
 *
 * Without context takeover each message stands alone, so that its bytes can be shared. A deflate stream is a row of blocks, and a
 * sync flush ends one on a byte: what differs between subscriptions goes in front as a block of its own that is stored as it
 * is. So an event is deflated once for a codec, not once for each number that clients choose, which would be theirs to multiply.
 *
 * Deflating is synchronous: it takes 10 to 30 µs for a post, once for all its readers. What is short, or does not shrink, goes as it
 * is; so does what is so long that the event loop would wait for it. */

import { constants, deflateRawSync } from "node:zlib";

import { type CodecName, encode } from "../../protocol/index.ts";
import { WebSocketEncoder, frameOf, openings, startOf } from "./websocket-frames.ts";

/** The window, as a power of 2 in bytes. Posts are shorter, and what both ends hold for it is a quarter of the greatest's. */
const windowBits = 13;
const deflating = { windowBits, memLevel: 6, level: 3, finishFlush: constants.Z_SYNC_FLUSH };
/** Messages shorter than this, in bytes, would save some 70 bytes at most. */
export const leastDeflatedBytes = 256;
/** Longer ones would hold the event loop for more than 2 ms or so. */
export const mostDeflatedBytes = 262_144;
/** A sync flush ends so; it is left out of a message (RFC 7692, section 7.2.1). */
const tailBytes = 4;
/** The bit of a frame's first byte that says its payload is deflated. */
const rsv1 = 0x40;

/** For `ws`, which negotiates, and inflates what clients send, up to `maxPayload`. */
export const perMessageDeflate = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  serverMaxWindowBits: windowBits,
  zlibInflateOptions: { chunkSize: 4_096 },
};

/** Hears of each message that is compressed, with its bytes before and after. */
export type OnCompressed = (bytesBefore: number, bytesAfter: number) => void;

/** The encoders of connections that are compressed. Their numbers come after those of all others. */
export function deflatingEncoders(onCompressed: OnCompressed): Record<CodecName, DeflatingEncoder> {
  return {
    json: new DeflatingEncoder("json", 3, onCompressed),
    msgpack: new DeflatingEncoder("msgpack", 4, onCompressed),
  };
}

/** How the body of an event begins: whether its rest is deflated, and the first byte that it had. */
const bodyHead = { plain: 0, deflated: 1, bytes: 2 };

class DeflatingEncoder extends WebSocketEncoder {
  readonly #onCompressed: OnCompressed;

  constructor(codec: CodecName, index: number, onCompressed: OnCompressed) {
    super(codec, index);
    this.#onCompressed = onCompressed;
  }

  override encodeMessage(message: object): Buffer {
    const encoded = encode(this.codec, message);
    const bytes = typeof encoded === "string" ? Buffer.from(encoded) : encoded;
    const deflated = this.#deflate(bytes);
    return deflated === undefined
      ? frameOf(openings[this.codec], bytes)
      : frameOf(openings[this.codec] | rsv1, deflated);
  }

  override encodeBody(event: object): Buffer {
    const body = super.encodeBody(event);
    const rest = body.subarray(1);
    const deflated = this.#deflate(rest);
    const kind = deflated === undefined ? bodyHead.plain : bodyHead.deflated;
    return Buffer.concat([Buffer.from([kind, body[0]!]), deflated ?? rest]);
  }

  override frame(body: Buffer, sub: number): Buffer {
    const start = startOf(this.codec, body[1]!, sub);
    const rest = body.subarray(bodyHead.bytes);
    return body[0] === bodyHead.plain
      ? frameOf(openings[this.codec], start, rest)
      : frameOf(openings[this.codec] | rsv1, storedBlock(start), rest);
  }

  /** The bytes as a message's deflated payload; undefined where that does not pay. */
  #deflate(bytes: Uint8Array): Buffer | undefined {
    if (bytes.length < leastDeflatedBytes || bytes.length > mostDeflatedBytes) return undefined;
    const flushed = deflateRawSync(bytes, deflating);
    const deflated = flushed.subarray(0, flushed.length - tailBytes);
    if (deflated.length >= bytes.length) return undefined;
    this.#onCompressed(bytes.length, deflated.length);
    return deflated;
  }
}

/** A block of a deflate stream that holds the bytes as they are, and is not the last (RFC 1951, section 3.2.4). */
function storedBlock(bytes: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(bytes.length, 1);
  head.writeUInt16LE(bytes.length ^ 0xffff, 3);
  return Buffer.concat([head, bytes]);
}

const parameter =
  /^(?:(?:server|client)_no_context_takeover|client_max_window_bits(?:="?(?:[89]|1[0-5])"?)?|server_max_window_bits="?(?:[89]|1[0-5])"?)$/;

/**
 * The first offer of a `Sec-WebSocket-Extensions` header that can be taken; undefined when there is none. One that cannot be is
 * declined, not refused (RFC 7692, section 5): the connection then goes without.
 */
export function acceptableOffer(header: string): string | undefined {
  const offers = header.split(",").map((offer) => offer.trim());
  return offers.find((offer) => {
    const [name, ...parameters] = offer.split(";").map((part) => part.trim());
    const names = parameters.map((each) => each.split("=")[0]);
    const window = /server_max_window_bits="?(\d+)/.exec(offer)?.[1];
    return (
      name === "permessage-deflate" &&
      parameters.every((each) => parameter.test(each)) &&
      new Set(names).size === names.length &&
      (window === undefined || Number(window) >= windowBits)
    );
  });
}
