/* WebSocket frames: events and answers as the bytes of unmasked server frames (RFC 6455, section 5.2).
 *
 *   0x81 text, 0x82 binary | length: 7 bits, or 126 and u16, or 127 and u64 | payload
 *
 * Built once for an event and shared by every connection that gets it. The subscription number is put in front of the
 * event's other fields, so that the rest is encoded once for all numbers:
 *
 *   JSON      {"sub":7,  ‖  "event":"post",…}
 *   msgpack   map of n+1, "sub", 7  ‖  "event", "post", … */

import { type CodecName, encode } from "../../protocol/index.ts";
import type { MessageEncoder } from "../sessions/index.ts";

/** A whole message in one frame: the codec's opcode, with FIN. */
export const openings = { json: 0x81, msgpack: 0x82 } as const;

export class WebSocketEncoder implements MessageEncoder {
  readonly index: number;
  readonly codec: CodecName;

  constructor(codec: CodecName, index: number) {
    this.codec = codec;
    this.index = index;
  }

  /** A message as a whole frame. */
  encodeMessage(message: object): Buffer {
    const encoded = encode(this.codec, message);
    return frameOf(openings[this.codec], typeof encoded === "string" ? Buffer.from(encoded) : encoded);
  }

  encodeBody(event: object): Buffer {
    return Buffer.from(encode(this.codec, event) as Buffer);
  }

  frame(body: Buffer, sub: number): Buffer {
    return frameOf(openings[this.codec], startOf(this.codec, body[0]!, sub), body.subarray(1));
  }
}

/** What an event begins with for the subscription `sub`, in place of the byte `first`. */
export function startOf(codec: CodecName, first: number, sub: number): Buffer {
  return codec === "json" ? Buffer.from(`{"sub":${sub},`) : msgpackStart(first, sub);
}

/** The start of a map with one field more than `first` says, which is its `sub`. */
function msgpackStart(first: number, sub: number): Buffer {
  const fields = first & 0x0f;
  if ((first & 0xf0) !== 0x80 || fields === 0x0f) throw new Error("an event is a map of 14 fields at most");
  const number = sub < 0x80 ? [sub] : [0xce, sub >>> 24, (sub >>> 16) & 0xff, (sub >>> 8) & 0xff, sub & 0xff];
  return Buffer.from([0x80 | (fields + 1), 0xa3, 0x73, 0x75, 0x62, ...number]);
}

/** One frame of `start` and `rest`. */
export function frameOf(opening: number, start: Uint8Array, rest?: Uint8Array): Buffer {
  const length = start.length + (rest?.length ?? 0);
  const headBytes = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(headBytes + length);
  frame[0] = opening;
  if (length < 126) frame[1] = length;
  else if (length < 65_536) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeUIntBE(0, 2, 2);
    frame.writeUIntBE(length, 4, 6);
  }
  frame.set(start, headBytes);
  if (rest !== undefined) frame.set(rest, headBytes + start.length);
  return frame;
}

/** A ping without payload. */
export const pingFrame = Buffer.from([0x89, 0x00]);

export const encoders = {
  json: new WebSocketEncoder("json", 0),
  msgpack: new WebSocketEncoder("msgpack", 1),
} as const;
