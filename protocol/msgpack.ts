/* Msgpack: the bytes of a frame as the value they hold, or nothing.
 *
 * Reads what JSON can carry and no more: nil, booleans, finite numbers, strings that are UTF-8, arrays, and maps whose keys are
 * strings. Whatever else is in the bytes (binary, an extension, a string that is not UTF-8, a length beyond the end, bytes
 * behind the value) makes the whole frame invalid: nothing is stored that is not what was sent, and nothing is guessed.
 *
 * A map is read as JSON.parse reads it: `__proto__` is a key like any other, and of two equal keys the last one counts. So
 * both codecs hand on the same map, whatever is in it. Nesting takes no stack: how deep a value may be is its field's to say. */

/** The bytes are not the msgpack of one value that JSON can carry. */
export class MsgpackError extends Error {
  override readonly name = "MsgpackError";
}

type Container = unknown[] | Record<string, unknown>;

/** The value that `bytes` hold. @throws MsgpackError */
export function readMsgpack(bytes: Uint8Array): unknown {
  return new Reader(bytes).value();
}

/** What is not a container. A container that begins is told by how many items it has. */
const begins = Symbol("a container begins");

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  /** Of the container that has just begun: whether it is a map, and its items. */
  #isMap = false;
  #count = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(): unknown {
    const open: Container[] = [];
    const missing: number[] = [];
    let container: Container | undefined;
    let left = 1;
    let root: unknown;
    for (;;) {
      const key = container === undefined || Array.isArray(container) ? undefined : this.#key();
      const item = this.#item();
      const value: unknown = item !== begins ? item : this.#isMap ? {} : [];
      if (container === undefined) root = value;
      else if (key === undefined) (container as unknown[]).push(value);
      else if (key !== "__proto__") (container as Record<string, unknown>)[key] = value;
      else
        Object.defineProperty(container, key, {
          value,
          configurable: true,
          enumerable: true,
          writable: true,
        });
      left--;
      if (item === begins && this.#count > 0) {
        if (container !== undefined) {
          open.push(container);
          missing.push(left);
        }
        container = value as Container;
        left = this.#count;
      }
      while (left === 0) {
        container = open.pop();
        if (container === undefined) {
          if (this.#at !== this.#bytes.length) throw new MsgpackError("bytes follow the value");
          return root;
        }
        left = missing.pop()!;
      }
    }
  }

  #key(): string {
    const key = this.#item();
    if (typeof key !== "string") throw new MsgpackError("a map's key is not a string");
    return key;
  }

  /** The next value, or `begins`. Reading beyond the end makes the view throw, or a token undefined. */
  #item(): unknown {
    const token = this.#bytes[this.#at++];
    if (token === undefined) throw new MsgpackError("it ends within a value");
    if (token < 0x80) return token;
    if (token < 0x90) return this.#begin(true, token & 0x0f);
    if (token < 0xa0) return this.#begin(false, token & 0x0f);
    if (token < 0xc0) return this.#string(token & 0x1f);
    if (token >= 0xe0) return token - 0x100;
    switch (token) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xca:
        return finite(this.#view.getFloat32(this.#skip(4)));
      case 0xcb:
        return finite(this.#view.getFloat64(this.#skip(8)));
      case 0xcc:
        return this.#u8();
      case 0xcd:
        return this.#u16();
      case 0xce:
        return this.#u32();
      case 0xcf:
        return this.#u32() * 0x100000000 + this.#u32();
      case 0xd0:
        return this.#view.getInt8(this.#skip(1));
      case 0xd1:
        return this.#view.getInt16(this.#skip(2));
      case 0xd2:
        return this.#view.getInt32(this.#skip(4));
      case 0xd3:
        return this.#view.getInt32(this.#skip(4)) * 0x100000000 + this.#u32();
      case 0xd9:
        return this.#string(this.#u8());
      case 0xda:
        return this.#string(this.#u16());
      case 0xdb:
        return this.#string(this.#u32());
      case 0xdc:
        return this.#begin(false, this.#u16());
      case 0xdd:
        return this.#begin(false, this.#u32());
      case 0xde:
        return this.#begin(true, this.#u16());
      case 0xdf:
        return this.#begin(true, this.#u32());
      default:
        throw new MsgpackError("it holds what JSON cannot: binary or an extension");
    }
  }

  #begin(isMap: boolean, count: number): typeof begins {
    // An item takes a byte at least: nobody is made to expect more than can come.
    if ((isMap ? 2 * count : count) > this.#bytes.length - this.#at)
      throw new MsgpackError("it ends within a value");
    this.#isMap = isMap;
    this.#count = count;
    return begins;
  }

  #string(length: number): string {
    const start = this.#skip(length);
    const bytes = this.#bytes;
    if (length <= mostAsciiBytes) {
      let text = "";
      for (let at = start; at < this.#at; at++) {
        const byte = bytes[at]!;
        if (byte >= 0x80) return decodeUtf8(bytes.subarray(start, this.#at));
        text += String.fromCharCode(byte);
      }
      return text;
    }
    return decodeUtf8(bytes.subarray(start, this.#at));
  }

  #u8(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  #u16(): number {
    return this.#view.getUint16(this.#skip(2));
  }

  #u32(): number {
    return this.#view.getUint32(this.#skip(4));
  }

  /** Goes past the next `length` bytes. Where they began. */
  #skip(length: number): number {
    const start = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new MsgpackError("it ends within a value");
    return start;
  }
}

function finite(number: number): number {
  if (!Number.isFinite(number)) throw new MsgpackError("a number is not finite");
  return number;
}

/** Up to so many bytes of ASCII are sooner put together here than the decoder is asked. */
const mostAsciiBytes = 24;

interface Utf8Decoder {
  decode(bytes: Uint8Array): string;
}

/** The part of the standard `TextDecoder` that is used, where there is one: this folder has neither Node.js' types nor the DOM's,
 *  and the SDK runs where it is missing. */
const { TextDecoder } = globalThis as {
  TextDecoder?: new (label: "utf-8", options: { fatal: true; ignoreBOM: true }) => Utf8Decoder;
};

/** Made when it is first needed: who speaks JSON needs none. */
let decoder: Utf8Decoder | undefined;

function decodeUtf8(bytes: Uint8Array): string {
  decoder ??=
    TextDecoder === undefined ? plainDecoder : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new MsgpackError("a string is not UTF-8", { cause });
  }
}

/** Slower, and just as strict: decodeURIComponent takes valid UTF-8 alone. */
const plainDecoder: Utf8Decoder = {
  decode(bytes) {
    let escaped = "";
    for (const byte of bytes) escaped += byte < 0x10 ? `%0${byte.toString(16)}` : `%${byte.toString(16)}`;
    return decodeURIComponent(escaped);
  },
};
