/* Text files that people write: in whatever encoding their editor saved them, with its byte order mark or without. */

import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";

import { encodingOf } from "../protocol/byte-order-mark.ts";

export async function readText(path: string): Promise<string> {
  return textOf(await readFile(path));
}

export function readTextSync(path: string): string {
  return textOf(readFileSync(path));
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder(encodingOf(bytes)).decode(bytes);
}
