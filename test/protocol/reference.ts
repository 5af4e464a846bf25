/* A naive reference for protocol/text.ts: each sign is judged by itself, on copies of what surrounds it.
 *
 * It restates the rules as plainly as they can be said and is as slow as that makes it. */

import { limits } from "../../protocol/limits.ts";

/** Start and end of a span. */
type Range = [start: number, end: number];

const tagChars =
  "\\p{L}\\p{M}\\p{Nd}_\u00b7\u05be\u05f3\u05f4\u0f0b\u0f0c\u3003\u301c\u309b\u309c\u30a0\u30fb\ua67e\uff5e";
const unseen = "\\p{Default_Ignorable_Code_Point}";
const otherwise = "[\\p{sc=Han}\\p{sc=Hira}\\p{sc=Kana}\\p{sc=Hang}\\p{CWCF}]";
const joinedLetter = `(?!${otherwise})\\p{Lo}(?:(?!\\p{CWCF})\\p{M})*`;
const behind = `(?!${otherwise})[\\p{Lo}\\p{M}]`;
const joiner = `(?<=${joinedLetter})[\u200c\u200d\u180b-\u180d\u180f](?=${behind})(?!${unseen})`;
const wholeTag = new RegExp(`^(?:(?!${unseen})[${tagChars}]|${joiner})+`, "u");
const tagCharAtEnd = new RegExp(`(?!${unseen})[${tagChars}]$`, "u");

// No label of a host has letters of two units here.
const hostChar = "(?![\\u{10000}-\\u{10ffff}])(?:[a-zA-Z0-9]|(?![\\0-\\x7f])[\\p{L}\\p{M}\\p{Nd}])";

export function referenceMentions(text: string): Range[] {
  return spans(text, /[@＠]/g, mentionLength);
}

export function referenceTags(text: string): Range[] {
  return spans(text, /[#＃]/g, tagLength);
}

/** The spans outside URLs at those signs that `lengthOf` finds a name after. */
function spans(text: string, sign: RegExp, lengthOf: (before: string, after: string) => number): Range[] {
  const urls = urlRanges(text);
  const found: Range[] = [];
  for (const { index } of text.matchAll(sign)) {
    const before = text.slice(Math.max(0, index - 70), index);
    const after = text.slice(index + 1, index + 1_000);
    const length = lengthOf(before, after);
    const inUrl = urls.some(([start, end]) => start < index && index < end);
    if (length > 0 && !inUrl) found.push([index, index + 1 + length]);
  }
  return found;
}

function mentionLength(before: string, after: string): number {
  const name = /^\w+(?:[.-]\w+)*/.exec(after)?.[0] ?? "";
  const next = after.slice(name.length);
  const isCut =
    /^[^\0-\x7f\uff00-\uffff]/.test(next) && /^[\p{Script=Latin}\u0300-\u036f\u02bb]/u.test(next.charAt(0));
  const local = before.replace(/[!#$%&'*+/=?^`{|}~."-]{1,64}$/, "");
  const endsInLetter = /[^\0-\x7f]$/.test(local) ? /[\p{LC}\u0300-\u036f]$/u.test(local) : /\w$/.test(local); // where that touches the sign it is RT, or there is no mention anyway
  const host = after.slice(name.length, 254);
  const isEmail =
    endsInLetter && (name.includes(".") || new RegExp(`^(?:${hostChar}|-)*\\.${hostChar}`, "u").test(host));
  const isRetweet = /(?:^|[^\w+~.@＠-])RT$/i.test(before);
  if (name.length > limits.handleChars || isCut || isEmail) return 0;
  if (/^(?:[@＠]|:\/\/|\/[a-z])/i.test(next)) return 0;
  if (/[\w!#$%&*@＠＃]$/.test(before) && !isRetweet) return 0;
  return name.length;
}

function tagLength(before: string, after: string): number {
  const run = wholeTag.exec(after)?.[0] ?? "";
  const follows = /^(?:[#＃]|:\/\/)/.test(after.slice(run.length));
  const precedes = before.endsWith("&") || (tagCharAtEnd.test(before) && !/[\ufe0e\ufe0f]$/.test(before));
  const isEmoji = /^[\ufe0f\u20e3]/.test(run);
  const name = run.normalize("NFC");
  if (follows || precedes || isEmoji || !/\p{L}/u.test(name)) return 0;
  // ß is the one character of these tests that grows when its case is folded.
  const length = [...name.replaceAll("ß", "ss")].length;
  return length > limits.tagChars ? 0 : run.length;
}

/** From the first slash or question mark of each URL to its end. */
function urlRanges(text: string): Range[] {
  const ranges: Range[] = [];
  let done = 0;
  for (let at = 0; at < text.length; at++) {
    if (at < done || !/[/?]/.test(text.charAt(at))) continue;
    const length = urlLength(text, at);
    if (length === 0) continue;
    done = at + length;
    ranges.push([at, done]);
  }
  return ranges;
}

function urlLength(text: string, at: number): number {
  const after = text.slice(at);
  if (/\w:$/.test(text.slice(Math.max(0, at - 2), at)) && after.startsWith("//")) {
    const credentials =
      /^[\w.~%!$&*+=-]+(?::[\w.~%!$&*+=-]+)?@(?=[\p{L}\p{Nd}[])/u.exec(after.slice(2))?.[0] ?? "";
    const host =
      /^(?:[\p{L}\p{Nd}][\p{L}\p{M}\p{Nd}._%-]*|\[[\da-f:.]+\])(?::\d{1,5})?/iu.exec(
        after.slice(2 + credentials.length),
      )?.[0] ?? "";
    if (host === "") return 0;
    const length = 2 + credentials.length + host.length;
    return /^[/?#]/.test(after.slice(length)) ? length + pathLength(after.slice(length)) : length;
  }
  if (!/^(?:\/|\?\w)/.test(after) || !followsHost(text, at)) return 0;
  return pathLength(after);
}

function followsHost(text: string, at: number): boolean {
  const nearby = text.slice(Math.max(0, at - 400), at);
  const host = /[\p{L}\p{M}\p{Nd}]\.[\p{L}\p{M}\p{Nd}]+(?::\d+)?$/u.exec(nearby)?.[0];
  // No top-level domain has letters of two units.
  if (host === undefined || /[\ud800-\udfff]/.test(host)) return false;
  const top = host.replace(/:\d+$/, "").replace(/^.*\./u, "");
  if (!/^[^\d]{2,}$/.test(top)) return false;
  let start = at - host.length + 1;
  while (/[\w.-]/.test(text.charAt(start - 1))) start--;
  return !/[@＠#＃]/.test(text.charAt(start - 1));
}

function pathLength(path: string): number {
  let open = 0;
  for (let i = 0; i < path.length; i++) {
    const char = path.charAt(i);
    if (/[\0-\x20"<>\\^`{}\x7f]/.test(char)) return i;
    if (/[^\0-\x7f]/.test(char) && !/[\p{LC}\p{Nd}\u0300-\u036f]/u.test(char)) return i;
    if (/[([]/.test(char)) open++;
    if (/[)\]]/.test(char) && --open < 0) return i;
  }
  return path.length;
}
