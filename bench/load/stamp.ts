/* Stamp: what every payload begins with, so that a reader finds it in a stream of bytes and knows what it has got.
 *
 *     ^^^ 000000042 ^ 000123456789012 ^ filler …
 *     3   9         1 15              1
 *         sequence    µs of the machine's own clock when the post was due
 *
 * The clock is one for all processes of a machine and does not jump (`process.hrtime`). `^` is left alone by JSON and
 * appears in no name and no filler. */

export const marker = 0x5e;
const sequenceDigits = 9;
const timeDigits = 15;
const sequenceAt = 3;
const timeAt = sequenceAt + sequenceDigits + 1;
export const stampBytes = timeAt + timeDigits + 1;

/** Sequences are below this. */
export const mostSequence = 10 ** sequenceDigits;

const clockOffsetMicros = Number(process.hrtime.bigint() / 1_000n) - performance.now() * 1_000;

/** The machine's clock, in µs. */
export function nowMicros(): number {
  return clockOffsetMicros + performance.now() * 1_000;
}

export function makeStamp(sequence: number, micros: number): string {
  return `^^^${String(sequence).padStart(sequenceDigits, "0")}^${String(Math.round(micros)).padStart(timeDigits, "0")}^`;
}

/** Whether a stamp begins at `at`; the whole of it must be there. */
export function isStamp(bytes: Uint8Array, at: number): boolean {
  return (
    bytes[at] === marker &&
    bytes[at + 1] === marker &&
    bytes[at + 2] === marker &&
    bytes[at + timeAt - 1] === marker &&
    bytes[at + stampBytes - 1] === marker
  );
}

export function readSequence(bytes: Uint8Array, at: number): number {
  return readDigits(bytes, at + sequenceAt, sequenceDigits);
}

export function readMicros(bytes: Uint8Array, at: number): number {
  return readDigits(bytes, at + timeAt, timeDigits);
}

function readDigits(bytes: Uint8Array, at: number, digits: number): number {
  let value = 0;
  for (let i = at; i < at + digits; i++) value = value * 10 + (bytes[i]! - 0x30);
  return value;
}

/** What fills payloads up: words, and nothing that a broker or a codec takes notice of. */
export function makeFiller(payloadBytes: number, head = ""): string {
  const words =
    "whales sing to each other over a thousand miles of dark water and nobody on the surface hears more ";
  const bytes = Math.max(0, payloadBytes - stampBytes);
  if (head.length > bytes)
    throw new Error(`a text of ${payloadBytes} bytes has no room for ${JSON.stringify(head)}`);
  return (head + words.repeat(Math.ceil(bytes / words.length))).slice(0, bytes);
}

/** A hash of a sequence; the XOR of what a reader got tells whether it is what it should have got. */
export function hashSequence(sequence: number): number {
  let mixed = Math.imul(sequence ^ (sequence >>> 16), 0x45d9f3b);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b);
  return mixed ^ (mixed >>> 16);
}
