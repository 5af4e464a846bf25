/* Prose: texts that compress as what people write does: passages of PROTOCOL.md, which is at hand wherever the harness is. */

import { existsSync, readFileSync } from "node:fs";

import { stampBytes } from "./stamp.ts";

/** Different passages, at least, so that no single one decides what is saved. */
const passages = 61;

/** What follows the stamp of posts, as `makeFiller` makes it for each of the heads. */
export function proseFillers(payloadBytes: number, heads: readonly string[]): string[] {
  const prose = readProse();
  const bytes = payloadBytes - stampBytes;
  const rounds = Math.ceil(passages / heads.length);
  return Array.from({ length: heads.length * rounds }, (_, i) => {
    const head = heads[i % heads.length]!;
    if (head.length > bytes)
      throw new Error(`a text of ${payloadBytes} bytes has no room for ${JSON.stringify(head)}`);
    const from = (i * bytes) % prose.length;
    const text = (prose + prose.slice(0, bytes)).slice(from, from + bytes - head.length);
    return head + text;
  });
}

/** Without what JSON escapes, and without mentions, tags and stamps. */
function readProse(): string {
  const places = ["../../protocol/PROTOCOL.md", "../../../protocol/PROTOCOL.md"];
  const file = places.map((place) => new URL(place, import.meta.url)).find((url) => existsSync(url));
  if (file === undefined) throw new Error("protocol/PROTOCOL.md, whose text posts are made of, is missing");
  return readFileSync(file, "utf8")
    .replaceAll(/[^A-Za-z0-9.,;:?!()' -]+/g, " ")
    .replaceAll(/[ -]{2,}/g, " ");
}
