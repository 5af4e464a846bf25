/* Byte order marks: in which encoding a text file is, by its first bytes. Windows puts one before UTF-8, and before UTF-16
 * always. TextDecoder takes the mark itself away. */

export type TextEncoding = "utf-8" | "utf-16le" | "utf-16be";

/** @param start the file's first two bytes, or more; all of it where it has fewer */
export function encodingOf(start: Uint8Array): TextEncoding {
  const [first, second] = start;
  if (first === 0xff && second === 0xfe) return "utf-16le";
  if (first === 0xfe && second === 0xff) return "utf-16be";
  return "utf-8";
}
