/* WebSocket frames, for dialects: what a client sends, and the payloads that a server sends, unfragmented.
 *
 *     0x80 | opcode │ length: 7 bits, or 126 and u16, or 127 and u64 │ payload                     from a server
 *     0x80 | opcode │ 0x80 | the same                 │ 4 bytes mask │ payload                     from a client
 *
 * A server that compresses sets a bit more in the first byte of what it has deflated. */

/** Says of a frame that its payload is deflated (RFC 7692). */
const rsv1 = 0x40;

/** A client's frame. Its mask is zero, which leaves the payload as it is. */
export function maskedFrame(opcode: number, payload: string | Buffer): Buffer {
  const length = typeof payload === "string" ? Buffer.byteLength(payload) : payload.length;
  if (length > 65_535) throw new Error(`a frame of a load holds 65,535 bytes at most; got ${length}`);
  const header = length < 126 ? 2 : 4;
  const frame = Buffer.allocUnsafe(header + 4 + length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | Math.min(length, 126);
  if (header === 4) frame.writeUInt16BE(length, 2);
  frame.writeUInt32BE(0, header);
  if (typeof payload === "string") frame.write(payload, header + 4);
  else payload.copy(frame, header + 4);
  return frame;
}

/** Finds whole payloads of text and binary frames in what a server sends. */
export class FrameReader {
  #rest: Buffer | undefined;

  read(chunk: Buffer, take: (payload: Buffer, isDeflated: boolean) => void): void {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    let at = 0;
    while (at < bytes.length) {
      const short = bytes[at + 1];
      const header = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (short === undefined || bytes.length - at < header) break;
      const length =
        header === 2 ? short : header === 4 ? bytes.readUInt16BE(at + 2) : bytes.readUInt32BE(at + 6);
      if (bytes.length - at < header + length) break;
      const opcode = bytes[at]! & 0x0f;
      const isDeflated = (bytes[at]! & rsv1) !== 0;
      if (opcode <= 0x2) take(bytes.subarray(at + header, at + header + length), isDeflated);
      at += header + length;
    }
    if (at < bytes.length) this.#rest = Buffer.from(bytes.subarray(at));
  }
}
