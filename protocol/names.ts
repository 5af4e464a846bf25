/* Names: handles, tags and streams, as text.
 *
 * Handles and tags are compared by their folded form and shown as first given. Folding is NFC, then lower case,
 * then NFC again (lower-casing can leave a decomposed sequence, as for U+0130). */

import { WhalesongError } from "./errors.ts";
import { limits } from "./limits.ts";

const handlePattern = /^[\p{L}\p{M}\p{Nd}_.-]+$/u;
const handleStart = /^[\p{L}\p{Nd}_.-]/u;
const tagPattern = /^[\p{L}\p{M}\p{Nd}_\u{200c}\u{200d}\u{00b7}\u{30fb}\u{301c}~-]+$/u;

/** The form under which two spellings of a handle or a tag are one. */
export function fold(name: string): string {
  return name.normalize("NFC").toLowerCase().normalize("NFC");
}

function chars(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** `handle` in NFC. @throws `bad_request` naming `field` when it is not 1–64 letters, digits, `_ . -`. */
export function checkHandle(handle: string, field = "user"): string {
  const name = handle.normalize("NFC");
  if (name.length === 0)
    throw new WhalesongError("bad_request", `${field}: a handle needs 1 character at least`, { field });
  if (name.length > limits.handleChars && chars(name) > limits.handleChars) {
    throw new WhalesongError(
      "bad_request",
      `${field}: a handle has ${limits.handleChars} characters at most; got ${chars(name)}`,
      { field },
    );
  }
  if (!handlePattern.test(name) || !handleStart.test(name)) {
    const found = [...name].find((c) => !handlePattern.test(c)) ?? name[0];
    throw new WhalesongError(
      "bad_request",
      `${field}: handle ${JSON.stringify(name.slice(0, 80))}: letters, digits, _ . - only; got ${JSON.stringify(found)}`,
      { field },
    );
  }
  return name;
}

/** `tag` in NFC, without a leading `#`. @throws `bad_request` naming `field`. */
export function checkTag(tag: string, field = "tag"): string {
  const name = (tag.startsWith("#") || tag.startsWith("＃") ? tag.slice(1) : tag).normalize("NFC");
  if (
    name.length === 0 ||
    (name.length > limits.tagChars && chars(name) > limits.tagChars) ||
    !tagPattern.test(name)
  ) {
    throw new WhalesongError(
      "bad_request",
      `${field}: tag ${JSON.stringify(name.slice(0, 120))}: 1–${limits.tagChars} letters, digits and _ only`,
      { field },
    );
  }
  return name;
}

/** A stream's name, taken apart. */
export type StreamName =
  | { kind: "home" }
  | { kind: "mentions" }
  | { kind: "user"; user: string }
  | { kind: "tag"; tag: string }
  | { kind: "thread"; post: string }
  | { kind: "firehose" };

/** Takes `home`, `mentions`, `user:HANDLE`, `tag:TAG`, `thread:POST` or `firehose` apart. @throws `bad_request` */
export function parseStream(stream: string): StreamName {
  const colon = stream.indexOf(":");
  const kind = colon < 0 ? stream : stream.slice(0, colon);
  const name = colon < 0 ? undefined : stream.slice(colon + 1);
  if (name === undefined) {
    if (kind === "home" || kind === "mentions" || kind === "firehose") return { kind };
  } else if (kind === "user") {
    return { kind, user: checkHandle(name, "stream") };
  } else if (kind === "tag") {
    return { kind, tag: checkTag(name, "stream") };
  } else if (kind === "thread" && name.length > 0) {
    return { kind, post: name };
  }
  throw new WhalesongError(
    "bad_request",
    `stream: ${JSON.stringify(stream.slice(0, 120))} is none of home, mentions, user:HANDLE, tag:TAG, thread:POST, firehose`,
    { field: "stream" },
  );
}

/** The canonical text of a stream: the same for all spellings of one stream. Durable cursors are kept under it. */
export function formatStream(stream: StreamName): string {
  switch (stream.kind) {
    case "user":
      return `user:${fold(stream.user)}`;
    case "tag":
      return `tag:${fold(stream.tag)}`;
    case "thread":
      return `thread:${stream.post}`;
    default:
      return stream.kind;
  }
}
