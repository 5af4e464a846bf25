/* Codec: frames as bytes, in one of the two subprotocols.
 *
 * The same maps travel in both; msgpack carries nothing that JSON cannot (no binary, dates, extensions). */

import { Packr } from "msgpackr";

import { WhalesongError } from "./errors.ts";
import { readMsgpack } from "./msgpack.ts";

/** `whalesong.v1.json` travels in text frames, `whalesong.v1.msgpack` in binary frames. */
export const subprotocols = { json: "whalesong.v1.json", msgpack: "whalesong.v1.msgpack" } as const;
export type CodecName = keyof typeof subprotocols;

/** Plain maps with string keys: no records, nothing bundled, floats exact. A key `toJSON` is a key: what a client sent is never called. */
const packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  encodeUndefinedAsNil: false,
  useToJSON: false,
});

/** A map as a string of JSON (`json`) or bytes (`msgpack`). */
export function encode(codec: "json", message: object): string;
export function encode(codec: "msgpack", message: object): Uint8Array;
export function encode(codec: CodecName, message: object): string | Uint8Array;
export function encode(codec: CodecName, message: object): string | Uint8Array {
  return codec === "json" ? JSON.stringify(message) : packr.pack(message);
}

/** The value in a frame. @throws `bad_frame` when the bytes are not valid, or hold what JSON cannot. */
export function decode(codec: CodecName, frame: string | Uint8Array): unknown {
  if (codec === "json") {
    if (typeof frame !== "string")
      throw new WhalesongError("bad_frame", "whalesong.v1.json takes text frames; got a binary one");
    try {
      return JSON.parse(frame) as unknown;
    } catch (cause) {
      throw new WhalesongError(
        "bad_frame",
        `the frame is not valid JSON: ${(cause as Error).message}`,
        {},
        { cause },
      );
    }
  }
  if (typeof frame === "string")
    throw new WhalesongError("bad_frame", "whalesong.v1.msgpack takes binary frames; got a text one");
  try {
    return readMsgpack(frame);
  } catch (cause) {
    throw new WhalesongError(
      "bad_frame",
      `the frame is not valid msgpack: ${(cause as Error).message}`,
      {},
      { cause },
    );
  }
}

/** Whether `value` is what JSON carries, just as it is, in no more than so many levels of arrays and maps. */
export function isJson(value: unknown, levels: number): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value);
    case "object": {
      if (value === null) return true;
      if (levels === 0) return false;
      if (Array.isArray(value)) return value.every((inner) => isJson(inner, levels - 1));
      const prototype: unknown = Object.getPrototypeOf(value);
      if (prototype !== Object.prototype && prototype !== null) return false;
      for (const inner of Object.values(value)) if (!isJson(inner, levels - 1)) return false;
      return true;
    }
    default:
      return false;
  }
}
