/* Stream: a set of topics and a filter, as one reader asks for it.
 *
 * The user whom it is about, a home's or mentions' reader or an author, may be none yet, or none any more: then its number is 0, which is
 * nobody's, and the stream shows nothing. A subscription awaits them (awaiting.ts). */

import type { Filter } from "../../protocol/index.ts";
import type { Offset, UserNo } from "../state/index.ts";

export type Stream = {
  name: string;
  filter: Filter;
  /** Of a subscription: the folded handle of the user whom it is about. */
  about?: string | undefined;
} & (
  | { kind: "home"; reader: UserNo }
  | { kind: "mentions"; reader: UserNo }
  | { kind: "user"; user: UserNo }
  | { kind: "tag"; tag: string }
  | { kind: "thread"; root: Offset }
  | { kind: "firehose" }
);

/** The number of the user whom a stream is about; 0 while there is none, undefined for what is about no user. */
export function userOf(stream: Stream): UserNo | undefined {
  switch (stream.kind) {
    case "home":
    case "mentions":
      return stream.reader;
    case "user":
      return stream.user;
    default:
      return undefined;
  }
}

/** The stream goes on as that of the user with another number. */
export function setUser(stream: Stream, user: UserNo): void {
  if (stream.kind === "user") stream.user = user;
  else if (stream.kind === "home" || stream.kind === "mentions") stream.reader = user;
}

/** The handle of the user who is to come before the stream shows anything; undefined when it awaits nobody. */
export function awaitedBy(stream: Stream): string | undefined {
  return userOf(stream) === 0 ? stream.about : undefined;
}

export const noFilter: Filter = Object.freeze({});
