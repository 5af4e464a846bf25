/* Names: handles, tags and streams, as text.
 *
 * A name is kept in NFC, shown as first given, and compared by its folded form.
 *
 * A handle is 1–64 letters and digits of any script, `_ . -`, and the marks those letters carry; it does not begin with
 * a mark. Characters that show nothing (variation selectors, Hangul fillers) are refused though Unicode files some of
 * them under letters and marks: they would let one handle pass for another. Dots alone are no handle: `.` and `..` in a
 * URL's path name no user there, but the folder or the one above.
 *
 * A tag is 1–100 letters, marks, digits, `_` and joiners of any script, with a letter among them, without its `#`:
 * exactly what `extractTags` of text.ts can find. What shows nothing is no part of it but between two letters of a script
 * whose letters it joins: at the end, or among Latin letters, it would make a tag that looks like another.
 *
 * Folding is Unicode's default full case folding under canonical equivalence, the same in every locale:
 *   - ß and ẞ are `ss`, a ligature is its letters, and σ ς Σ are one letter wherever they stand in the word;
 *   - İ is i with a dot above, and ı is a letter of its own, so that neither is i (the Turkish rules, under which I
 *     would not be i, hold in Turkish alone);
 *   - accents, full-width forms, ZWJ and ZWNJ tell names apart, since folding is of case, not of looks.
 * A folded name is its own folded form and again a valid name: for that, a name's length is the longer of the two forms. */

import { WhalesongError } from "./errors.ts";
import { limits } from "./limits.ts";

/** The most UTF-16 units that can become one character of NFC; longer input is refused before the work of normalizing. */
const unitsPerChar = 8;

const handlePattern = /^[\p{L}\p{M}\p{Nd}_.-]+$/u;
const mark = /^\p{M}/u;
const dotsAlone = /^\.+$/;
const invisible = /\p{Default_Ignorable_Code_Point}/u;

/* Beside letters, marks and digits, tags hold what joins the letters of a word: _ and the middle dot (Catalan), maqaf,
 * geresh and gershayim (Hebrew), the two tsheg (Tibetan), the ditto mark, wave dash, voicing marks, double hyphen and
 * middle dot of Japanese, kavyka (old Cyrillic) and the full-width tilde. */
const tagChar =
  /(?!\p{Default_Ignorable_Code_Point})[\p{L}\p{M}\p{Nd}_\u{b7}\u{5be}\u{5f3}\u{5f4}\u{f0b}\u{f0c}\u{3003}\u{301c}\u{309b}\u{309c}\u{30a0}\u{30fb}\u{a67e}\u{ff5e}]/u;
/** ZWNJ and ZWJ (Arabic, Indic) and the Mongolian selectors, between letters that have no case and are neither Chinese, Japanese nor Korean. Marks may
 *  stand between the letter and what joins it, but none that folding makes a letter of: the folded tag has to be one, too. */
const tagJoiner =
  /(?<=(?![\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Hang}\p{CWCF}])\p{Lo}(?:(?!\p{CWCF})\p{M})*)(?:\u{200c}|\u{200d}|\u{180b}|\u{180c}|\u{180d}|\u{180f})(?=[\p{Lo}\p{M}])(?![\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Hang}\p{CWCF}]|\p{Default_Ignorable_Code_Point})/u;
const tagRun = new RegExp(`(?:${tagChar.source}|${tagJoiner.source})+`, "uy");
const letter = /\p{L}/u;
/** After `#` these make an emoji or a keycap of it. */
const emojiMark = /^[\u{fe0f}\u{20e3}]/u;

const ascii = /^[\0-\x7f]*$/;
const loneSurrogate = /\p{Surrogate}/u;

/** The form under which two spellings of a handle or a tag are one. */
export function fold(name: string): string {
  if (ascii.test(name)) return name.toLowerCase();
  // Upper case merges what lower case alone keeps apart (ß and ss, ſ and s, ς and σ), and ẞ gets there by way of ß.
  const folded = name
    .normalize("NFD")
    .split("ı")
    .map((part) => part.toLowerCase().toUpperCase().toLowerCase())
    .join("ı");
  // Lower-casing a whole word leaves ς at its end.
  return folded.replaceAll("ς", "σ").normalize("NFC");
}

function chars(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** The length in characters that limits apply to: of `name` (in NFC) or of its folded form, whichever is longer. */
function length(name: string): number {
  return ascii.test(name) ? name.length : Math.max(chars(name), chars(fold(name)));
}

/**
 * `device` as it is. @throws `bad_request` naming `field` when it is not 1–64 characters, or holds U+0000, which parts the names of a
 * durable cursor, or half of a surrogate pair, which is no character.
 */
export function checkDevice(device: string, field = "device"): string {
  if (device.length === 0) throw refuse(field, "a device name needs 1 character at least");
  const count = device.length > limits.deviceChars * 2 ? device.length : chars(device);
  if (count > limits.deviceChars)
    throw refuse(field, `a device name has ${limits.deviceChars} characters at most; got ${count}`);
  if (device.includes("\0")) throw refuse(field, "a device name has no character U+0000");
  if (loneSurrogate.test(device))
    throw refuse(field, "holds half of a surrogate pair, which is no character");
  return device;
}

/** A refused name, quoted; cut short, so that an error stays smaller than what caused it. */
function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}

function refuse(field: string, message: string): WhalesongError {
  return new WhalesongError("bad_request", `${field}: ${message}`, { field });
}

/** `name` in NFC. @throws `bad_request` when it is empty or over `most` characters. */
function normalize(
  name: string,
  { field, noun, most }: { field: string; noun: string; most: number },
): string {
  if (name.length === 0) throw refuse(field, `a ${noun} needs 1 character at least`);
  const hopeless = name.length > most * unitsPerChar;
  const normal = hopeless ? name : name.normalize("NFC");
  const count = hopeless ? chars(name) : length(normal);
  if (count > most) throw refuse(field, `a ${noun} has ${most} characters at most; got ${count}`);
  return normal;
}

/** `handle` in NFC. @throws `bad_request` naming `field` when it is not 1–64 letters, digits, `_ . -`. */
export function checkHandle(handle: string, field = "user"): string {
  const name = normalize(handle, { field, noun: "handle", most: limits.handleChars });
  const fault = mark.test(name)
    ? [...name][0]
    : [...name].find((char) => !handlePattern.test(char) || invisible.test(char));
  if (fault !== undefined) {
    throw refuse(field, `handle ${quote(name)}: letters, digits, _ . - only; got ${describe(fault)}`);
  }
  if (dotsAlone.test(name))
    throw refuse(
      field,
      `handle ${quote(name)}: dots alone are no handle; it needs a letter, a digit, _ or -`,
    );
  return name;
}

/** `tag` in NFC, without a leading `#` or `＃`. @throws `bad_request` naming `field`. */
export function checkTag(tag: string, field = "tag"): string {
  const bare = tag.startsWith("#") || tag.startsWith("＃") ? tag.slice(1) : tag;
  const name = normalize(bare, { field, noun: "tag", most: limits.tagChars });
  const end = tagEnd(name, 0);
  if (end < name.length || emojiMark.test(name)) {
    const fault = String.fromCodePoint(name.codePointAt(end < name.length ? end : 0) ?? 0);
    throw refuse(field, `tag ${quote(name)}: letters, digits and _ only; got ${describe(fault)}`);
  }
  if (!letter.test(name)) throw refuse(field, `tag ${quote(name)}: a tag needs 1 letter at least`);
  return name;
}

/** The tag that `text` is, in NFC, or nothing where `checkTag` would throw. `text` has no leading `#`. */
export function tagOf(text: string): string | undefined {
  if (text.length > limits.tagChars * unitsPerChar || emojiMark.test(text) || !letter.test(text))
    return undefined;
  const name = text.normalize("NFC");
  return tagEnd(name, 0) === name.length && length(name) <= limits.tagChars ? name : undefined;
}

/** Where the run of tag characters that begins at `start` ends: at `start` when there is none. In UTF-16 units. */
export function tagEnd(text: string, start: number): number {
  tagRun.lastIndex = start;
  return tagRun.test(text) ? tagRun.lastIndex : start;
}

/** A character for an error message: quoted, and by number where it may not show. */
function describe(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  if (code > 0x20 && code < 0x7f) return JSON.stringify(char);
  return `${JSON.stringify(char)} (U+${code.toString(16).toUpperCase().padStart(4, "0")})`;
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
