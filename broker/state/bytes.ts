/* Bytes: how numbers and text are laid into keys and values.
 *
 * Numbers in keys are big-endian, so that LMDB's order of bytes is the order of numbers. Offsets and times are 48 bits. */

/** A user's number inside the broker: 1, 2, 3, … in order of first use; 32 bits. */
export type UserNo = number;
/** The count of commands applied since the log began; 48 bits. */
export type Offset = number;

export const maxOffset: Offset = 2 ** 48 - 1;
export const empty = Buffer.alloc(0);

export function writeU48(target: Buffer, at: number, value: number): number {
  return target.writeUIntBE(value, at, 6);
}

export function readU48(source: Buffer, at: number): number {
  return source.readUIntBE(at, 6);
}

export function u32Key(value: number): Buffer {
  const key = Buffer.allocUnsafe(4);
  key.writeUInt32BE(value, 0);
  return key;
}

export function u48Key(value: number): Buffer {
  const key = Buffer.allocUnsafe(6);
  key.writeUIntBE(value, 0, 6);
  return key;
}

const brief = Buffer.alloc(6);

/** As `u48Key`, in bytes that the next call overwrites: for a point read or a put, which are done with them when they return. */
export function briefU48(value: number): Buffer {
  brief.writeUIntBE(value, 0, 6);
  return brief;
}

/** Bytes that sort just after every key that starts with `prefix`. The prefix must not be all 0xff. */
export function afterPrefix(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  for (let i = end.length - 1; i >= 0; i--) {
    const byte = end[i]!;
    if (byte < 0xff) {
      end[i] = byte + 1;
      return end.subarray(0, i + 1);
    }
  }
  throw new RangeError("a prefix of 0xff bytes has no end");
}
