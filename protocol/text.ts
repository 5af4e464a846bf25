/* Text: the @mentions and #tags in what a user wrote.
 *
 * The rules are those of the public twitter-text conformance suite, which was written for screen names of up to 20
 * letters, digits and _. Where Whalesong's handles go beyond that, or the suite is silent:
 *
 *   - A mention is ASCII. The suite ends a name before any other letter (の@aliceに mentions alice), so a handle in
 *     another script cannot be told from the words around it. Nor is there a mention where a name runs on into an
 *     accented Latin letter: that is somebody else's name, cut short.
 *   - Names go up to 64 characters. What is longer is not a mention; its first 64 would be somebody else's handle.
 *   - One `.` or `-` between two letters, digits or _ belongs to the name: "@first.last" mentions first.last and not a
 *     stranger called first. At the end it is punctuation ("@bob."), and so are several in a row ("@bob...").
 *   - "@alice/friends" names a list and mentions nobody.
 *   - Addresses of e-mail hold no mention: a host with a dot is the domain of one after an accented letter
 *     (josé@example.com), after a letter or digit with signs that addresses may have between (foo+@example.com), and
 *     after RT (rt@example.com).
 *   - URLs hold neither. There is no list of top-level domains here: a URL is scheme://host with whatever follows, or
 *     a dotted host with a path or query ("example.com/@bob"), so that a name directly after "and.or/" is missed.
 *   - A tag with more than 100 characters is none, nor is one without a letter.
 *
 * A user or tag that these rules cannot reach is addressed all the same by a client that lists `mentions` and `tags`
 * in its post; the text is then not searched.
 *
 * Every function here takes time in proportion to the text, whatever it holds. */

import { limits } from "./limits.ts";
import { fold, tagEnd, tagOf } from "./names.ts";

/** A mention or tag at its place. */
export interface TextSpan {
  /** The handle or tag, without its sign; in NFC, the case as written. */
  name: string;
  /** Where its sign stands, in UTF-16 units, as `text.slice(start, end)` counts. */
  start: number;
  /** Where it ends, exclusive, in UTF-16 units. */
  end: number;
}

/** The handles that `text` mentions, as written, in order of first appearance; at most `limits.mentions`. */
export function extractMentions(text: string): string[] {
  return distinct(findMentions(text), limits.mentions);
}

/** The tags in `text`, in NFC, in order of first appearance; at most `limits.tags`. */
export function extractTags(text: string): string[] {
  return distinct(findTags(text), limits.tags);
}

/** Every mention in `text`, repeated ones too, for a client that links them. */
export function findMentions(text: string): TextSpan[] {
  const spans: TextSpan[] = [];
  if (!text.includes("@") && !text.includes("＠")) return spans;
  const urls = new UrlScan(text);
  for (let start = 0; start < text.length; start++) {
    if (!isAtSign(text.charCodeAt(start))) continue;
    const end = handleEnd(text, start + 1);
    if (isMention(text, start, end) && !urls.covers(start)) {
      spans.push({ name: text.slice(start + 1, end), start, end });
    }
    start = end - 1;
  }
  return spans;
}

/** Every tag in `text`, repeated ones too, for a client that links them. */
export function findTags(text: string): TextSpan[] {
  const spans: TextSpan[] = [];
  if (!text.includes("#") && !text.includes("＃")) return spans;
  const urls = new UrlScan(text);
  for (let start = 0; start < text.length; start++) {
    if (!isHashSign(text.charCodeAt(start))) continue;
    const end = tagEnd(text, start + 1);
    if (mayBeginTag(text, start) && mayEndTag(text, end) && !urls.covers(start)) {
      const name = tagOf(text.slice(start + 1, end));
      if (name !== undefined) spans.push({ name, start, end });
    }
    start = end - 1;
  }
  return spans;
}

function distinct(spans: TextSpan[], most: number): string[] {
  if (spans.length === 0) return []; // as most texts have it
  const names = new Map<string, string>();
  for (const { name } of spans) {
    const key = fold(name);
    if (names.has(key)) continue;
    if (names.size === most) break;
    names.set(key, name);
  }
  return [...names.values()];
}

const casedLetter = /[\p{LC}\u{300}-\u{36f}]/u;
const latinLetter = /[\p{Script=Latin}\u{300}-\u{36f}\u{2bb}]/u;

function isMention(text: string, start: number, end: number): boolean {
  const chars = end - start - 1;
  if (chars === 0 || chars > limits.handleChars) return false;
  if (isList(text, end) || !mayEndMention(text, end) || !mayBeginMention(text, start)) return false;
  return !isEmailDomain(text, start, end);
}

/** Where the ASCII name that begins at `start` ends. */
function handleEnd(text: string, start: number): number {
  let end = start;
  for (;;) {
    const code = text.charCodeAt(end);
    const joins = (code === dot || code === hyphen) && end > start && isWord(text.charCodeAt(end + 1));
    if (!isWord(code) && !joins) return end;
    end += joins ? 2 : 1;
  }
}

function mayBeginMention(text: string, start: number): boolean {
  if (start === 0) return true;
  const before = text.charCodeAt(start - 1);
  if (!isWord(before)) return !isSign(before);
  return isRetweet(text, start);
}

/** Whether the sign at `start` follows the letters RT in either case, standing alone: "RT@alice". */
function isRetweet(text: string, start: number): boolean {
  if (start < 2 || text.slice(start - 2, start).toUpperCase() !== "RT") return false;
  if (start === 2) return true;
  const before = text.charCodeAt(start - 3);
  if (isWord(before) || isAtSign(before)) return false;
  return before !== plus && before !== tilde && before !== dot && before !== hyphen;
}

function mayEndMention(text: string, end: number): boolean {
  const after = text.charCodeAt(end);
  if (isAtSign(after) || text.startsWith("://", end)) return false;
  // Full-width letters are of the Latin script, but stand in East Asian text as Kana do.
  return !(after > 0x7f && after < 0xff00 && latinLetter.test(text.charAt(end)));
}

/** Whether a slash and a letter make the name that ends at `end` a list's. */
function isList(text: string, end: number): boolean {
  return text.charCodeAt(end) === slash && isAsciiLetter(text.charCodeAt(end + 1));
}

/** The local part of an address has so many characters at most (RFC 5321, section 4.5.3.1.1). */
const mostLocalChars = 64;

/** Whether an address like josé@example.com, foo+@example.com or rt@example.com has its sign at `start`, and a name that ends at `end`
 *  behind it. Others that end in an ASCII letter fail at it. */
function isEmailDomain(text: string, start: number, end: number): boolean {
  if (start === 0 || !isDottedHost(text, start + 1, end)) return false;
  let local = start;
  while (start - local < mostLocalChars && isLocalSign(text, local - 1)) local--;
  const before = text.charCodeAt(local - 1);
  if (before > 0x7f) return casedLetter.test(charBefore(text, local));
  return isWord(before); // directly before the sign only RT's is here
}

/** And a host so many (RFC 1035, section 2.3.4). */
const mostHostChars = 253;

/** Whether a host with a dot within begins at `start`, of which a name ends at `end`. Hosts hold what no name does: xn--bcher-kva.example. */
function isDottedHost(text: string, start: number, end: number): boolean {
  if (text.slice(start, end).includes(".")) return true;
  for (let at = end; at < start + mostHostChars; at++) {
    const code = text.charCodeAt(at);
    const isLetter = isHostLetter(text, at) || isDigit(code);
    if (code === dot) return isHostLetter(text, at + 1) || isDigit(text.charCodeAt(at + 1));
    if (!isLetter && code !== hyphen) return false;
  }
  return false;
}

/** The signs that the local part of an address may have beside letters, digits and _ (RFC 5322, `atext`, and what quotes it). */
function isLocalSign(text: string, at: number): boolean {
  return at >= 0 && "!#$%&'*+/=?^`{|}~.-\"".includes(text.charAt(at));
}

function mayBeginTag(text: string, start: number): boolean {
  if (start === 0) return true;
  const before = text.charCodeAt(start - 1);
  if (before <= 0x7f) return !isWord(before) && before !== ampersand;
  // The selectors that end an emoji are marks, but no part of a word.
  if (before === 0xfe0e || before === 0xfe0f) return true;
  const char = charBefore(text, start);
  return tagEnd(char, 0) === 0;
}

function mayEndTag(text: string, end: number): boolean {
  return !isHashSign(text.charCodeAt(end)) && !text.startsWith("://", end);
}

const urlText = /[\p{LC}\p{Nd}\u{300}-\u{36f}]/u;
const hostText = /[\p{L}\p{M}\p{Nd}]/u;
const authority =
  /(?:[\w.~%!$&*+=-]+(?::[\w.~%!$&*+=-]+)?@)?(?:[\p{L}\p{Nd}][\p{L}\p{M}\p{Nd}._%-]*|\[[\da-f:.]+\])(?::\d{1,5})?/iuy;

/** Tells which places of a text lie within a URL, asked from left to right; reads the text once. */
class UrlScan {
  readonly #text: string;
  /** All before this place has been read. */
  #read = 0;
  /** Where the last URL found ends. */
  #end = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Whether a URL that began before `place` reaches beyond it. */
  covers(place: number): boolean {
    while (this.#read < place) {
      const code = this.#text.charCodeAt(this.#read);
      if (code === slash || code === question) {
        this.#end = urlEnd(this.#text, this.#read);
        this.#read = Math.max(this.#end, this.#read + 1);
      } else {
        this.#read++;
      }
    }
    return place < this.#end;
  }
}

/** Where the URL ends whose first slash or question mark stands at `place`; 0 when that is no URL's. */
function urlEnd(text: string, place: number): number {
  if (text.startsWith("://", place - 1) && isWord(text.charCodeAt(place - 2))) {
    authority.lastIndex = place + 2;
    if (!authority.test(text)) return 0;
    const end = authority.lastIndex;
    const after = text.charCodeAt(end);
    return after === slash || after === question || after === hash ? urlTextEnd(text, end) : end;
  }
  const mayFollow = text.charCodeAt(place) === slash || isWord(text.charCodeAt(place + 1));
  return mayFollow && isHostBefore(text, place) ? urlTextEnd(text, place) : 0;
}

/** Whether a dotted host, perhaps with a port, ends at `end`, and neither an e-mail's nor a mention's. */
function isHostBefore(text: string, end: number): boolean {
  let at = end;
  while (isDigit(text.charCodeAt(at - 1))) at--;
  at = at < end && text.charCodeAt(at - 1) === colon ? at - 1 : end;
  const topEnd = at;
  while (isHostLetter(text, at - 1)) at--;
  if (topEnd - at < 2 || text.charCodeAt(at - 1) !== dot) return false;
  at--;
  if (!isHostLetter(text, at - 1) && !isDigit(text.charCodeAt(at - 1))) return false;
  for (;;) {
    const code = text.charCodeAt(at - 1);
    if (!isWord(code) && code !== dot && code !== hyphen) return !isAtSign(code) && !isHashSign(code);
    at--;
  }
}

/** Where a URL's path, query and fragment end that begin at `start`. A closing bracket ends them unless opened there. */
function urlTextEnd(text: string, start: number): number {
  let open = 0;
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 0x7f) {
      // Scripts without case run on after a URL without a space, as Japanese does.
      if (!urlText.test(text.charAt(at))) return at;
    } else if (code <= 0x20 || urlStops.includes(text.charAt(at))) {
      return at;
    } else if (code === roundOpen || code === squareOpen) {
      open++;
    } else if (code === roundClose || code === squareClose) {
      if (open === 0) return at;
      open--;
    }
  }
  return text.length;
}

const urlStops = '"<>\\^`{}\x7f';

const [hash, dollar, percent, ampersand, bang, star] = [0x23, 0x24, 0x25, 0x26, 0x21, 0x2a];
const [roundOpen, roundClose, squareOpen, squareClose] = [0x28, 0x29, 0x5b, 0x5d];
const [plus, hyphen, dot, slash, colon, question, tilde] = [0x2b, 0x2d, 0x2e, 0x2f, 0x3a, 0x3f, 0x7e];

function isAtSign(code: number): boolean {
  return code === 0x40 || code === 0xff20;
}

function isHashSign(code: number): boolean {
  return code === hash || code === 0xff03;
}

/** The punctuation that turns an @ after it into something else than a mention. */
function isSign(code: number): boolean {
  if (code === bang || code === dollar || code === percent || code === ampersand || code === star)
    return true;
  return isAtSign(code) || isHashSign(code);
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isAsciiLetter(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a);
}

/** A letter, a digit or _ of ASCII. */
function isWord(code: number): boolean {
  return isAsciiLetter(code) || isDigit(code) || code === 0x5f;
}

/** A letter of a host's last labels, of one unit: no top-level domain has others. */
function isHostLetter(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return isAsciiLetter(code) || (code > 0x7f && hostText.test(text.charAt(at)));
}

/** The character that ends before `place`, whole though it take two units. */
function charBefore(text: string, place: number): string {
  const low = text.charCodeAt(place - 1);
  const high = text.charCodeAt(place - 2);
  const isPair = low >= 0xdc00 && low <= 0xdfff && high >= 0xd800 && high <= 0xdbff;
  return text.slice(isPair ? place - 2 : place - 1, place);
}
