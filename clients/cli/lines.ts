/* Lines of a file that people or data sets wrote: edge lists, interactions.
 *
 * Reads what such files come as: plain or gzip, told by the bytes and not by the name; UTF-8 or UTF-16, with a byte order mark or
 * without; any line ends. Passes over blank lines and comments (`#`, and `%` as in KONECT's files; neither begins a
 * handle). Lines are counted as an editor counts them. Memory does not grow with the file. */

import { createReadStream, readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";

import { encodingOf } from "../../protocol/byte-order-mark.ts";
import { CommandError } from "./command.ts";

export interface Line {
  /** Without its end and without white space around it; never empty. */
  text: string;
  /** Counted from 1. */
  number: number;
}

/** The longest line, in UTF-16 code units. */
const maxLineLength = 1_048_576;

/** The lines that hold something. @throws CommandError `bad_file` */
export async function* readLines(path: string): AsyncGenerator<Line, void, undefined> {
  let number = 0;
  for await (const raw of rawLines(path)) {
    number++;
    const text = raw.trim();
    if (text !== "" && !text.startsWith("#") && !text.startsWith("%")) yield { text, number };
  }
}

/** A whole file of text, as `readLines` understands them, without gzip. @throws what reading does */
export function readTextSync(path: string): string {
  const bytes = readFileSync(path);
  return new TextDecoder(encodingOf(bytes)).decode(bytes);
}

async function* rawLines(path: string): AsyncGenerator<string, void, undefined> {
  let rest = "";
  let count = 0;
  for await (const chunk of readText(path)) {
    const text = rest + chunk;
    // A carriage return at the end may be half of a line end.
    const cut = text.endsWith("\r") ? text.length - 1 : text.length;
    const lines = text.slice(0, cut).split(/\r\n|[\r\n]/);
    rest = (lines.pop() as string) + text.slice(cut);
    yield* lines;
    count += lines.length;
    if (rest.length > maxLineLength) {
      throw new CommandError(
        "bad_file",
        `${path}: line ${count + 1}: it is longer than ${maxLineLength} characters; is this a text file of lines?`,
      );
    }
  }
  if (rest !== "") yield rest.replace(/\r$/, "");
}

/** The file's text, piece by piece. @throws CommandError `bad_file` */
async function* readText(path: string): AsyncGenerator<string, void, undefined> {
  const file = createReadStream(path);
  let source: Readable | undefined;
  let decoder: InstanceType<typeof TextDecoder> | undefined;
  try {
    source = await unzipped(file);
    for await (const chunk of source as AsyncIterable<Buffer>) {
      decoder ??= new TextDecoder(encodingOf(chunk));
      yield decoder.decode(chunk, { stream: true });
    }
    if (decoder !== undefined) yield decoder.decode();
  } catch (cause) {
    throw new CommandError("bad_file", `${path}: ${(cause as Error).message}`, { cause });
  } finally {
    source?.destroy();
    file.destroy();
  }
}

/** `file` itself, or what it unzips to when it begins as gzip does. */
async function unzipped(file: Readable): Promise<Readable> {
  const start = await firstChunk(file);
  if (start === undefined) return file;
  file.unshift(start);
  if (start[0] !== 0x1f || start[1] !== 0x8b) return file;
  const gunzip = createGunzip();
  file.on("error", (error) => gunzip.destroy(error));
  return file.pipe(gunzip);
}

function firstChunk(file: Readable): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      file.off("readable", settle).off("end", settle).off("error", reject);
      resolve((file.read() as Buffer | null) ?? undefined);
    };
    file.once("readable", settle).once("end", settle).once("error", reject);
  });
}
