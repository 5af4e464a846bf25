/* Inflating: the messages of a WebSocket whose server deflates each by itself (permessage-deflate without context takeover).
 *
 *     frames ──deflated?──> known by its bytes ──> what it was, inflated once for all who read it here
 *
 * A crowd of readers gets the same bytes over and over. They are inflated once in a process and known again by their bytes,
 * all of which are compared, so that the load stays as small as it is without compression. */

import { constants, inflateRawSync } from "node:zlib";

import type { Decoder } from "./dialect.ts";
import { FrameReader } from "./websocket-frames.ts";

/** A sync flush ends so; a sender leaves it out (RFC 7692, section 7.2.1). */
const tail = Buffer.of(0x00, 0x00, 0xff, 0xff);
/** Bytes that tell messages apart at first sight. */
const hashedBytes = 64;
/** Messages kept; all are forgotten when there are more. */
const mostKept = 4_096;

interface Known {
  deflated: Buffer;
  message: Buffer;
}

const known = new Map<number, Known>();

/** For one connection. */
export function inflatingDecoder(): Decoder {
  const frames = new FrameReader();
  return (bytes, take) => {
    frames.read(bytes, (payload, isDeflated) => take(isDeflated ? inflated(payload) : payload));
  };
}

/** @throws that it is no deflated message */
export function inflated(payload: Buffer): Buffer {
  const key = hashOf(payload);
  const found = known.get(key);
  if (found?.deflated.equals(payload) === true) return found.message;
  const message = inflateRawSync(Buffer.concat([payload, tail]), { finishFlush: constants.Z_SYNC_FLUSH });
  if (known.size >= mostKept) known.clear();
  known.set(key, { deflated: Buffer.from(payload), message });
  return message;
}

/** Of its length and its first bytes, where the cursor is that no two posts share. */
function hashOf(payload: Buffer): number {
  let hash = payload.length;
  const end = Math.min(payload.length, hashedBytes) - 3;
  for (let at = 0; at < end; at += 4) hash = Math.imul(hash ^ payload.readInt32LE(at), 0x01000193);
  return hash;
}
