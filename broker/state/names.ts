/* Names: handles and tags as commands and entries carry them, with the form under which spellings of one name are equal.
 *
 * What a name folds to depends on the tables of Unicode that a process runs with, and these grow from one version of Node.js to the next. So it
 * is found once, by whoever makes a command, and everybody else takes it from there. Nearly all names fold to themselves but for the letters A to Z,
 * as to which no two versions differ: for these the name alone is kept. */

import { fold } from "../../protocol/index.ts";

/** A name as given; where more than A to Z is folded, with its folded form. */
export type Name = string | readonly [given: string, folded: string];

/** Folds `given`, with this process's tables. */
export function nameOf(given: string): Name {
  if (ascii.test(given)) return given;
  const folded = fold(given);
  return folded === lowerAscii(given) ? given : [given, folded];
}

export function givenOf(name: Name): string {
  return typeof name === "string" ? name : name[0];
}

export function foldedOf(name: Name): string {
  return typeof name === "string" ? lowerAscii(name) : name[1];
}

/** Whether the name folds to the same whatever tables of Unicode there are. */
export function isSelfFolding(name: Name): boolean {
  return typeof name === "string" && ascii.test(name);
}

/** Those with different folded forms, the first of each: `most` at most, and without `but`. */
export function distinctNames(
  names: readonly Name[],
  { most = Number.MAX_SAFE_INTEGER, but }: { most?: number; but?: Name } = {},
): Name[] {
  if (names.length === 0) return [];
  const seen = new Set<string>();
  if (but !== undefined) seen.add(foldedOf(but));
  const distinct: Name[] = [];
  for (const name of names) {
    if (distinct.length === most) break;
    const folded = foldedOf(name);
    if (seen.has(folded)) continue;
    seen.add(folded);
    distinct.push(name);
  }
  return distinct;
}

const ascii = /^[\0-\x7f]*$/;
const upper = /[A-Z]/;

function lowerAscii(text: string): string {
  if (!upper.test(text)) return text;
  return ascii.test(text) ? text.toLowerCase() : text.replace(/[A-Z]+/g, (run) => run.toLowerCase());
}
