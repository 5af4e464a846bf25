/* Stream: a set of topics and a filter, as one reader asks for it.
 *
 * The user whom it is about, a home's or mentions' reader or an author, may be none yet: then its number is 0, which is nobody's, and
 * the stream shows nothing. A subscription `awaits` them (awaiting.ts). */

import type { Filter } from "../../protocol/index.ts";
import type { Offset, UserNo } from "../state/index.ts";

export type Stream = {
  name: string;
  filter: Filter;
  /** The folded handle of the user whose number is to come. */
  awaits?: string | undefined;
} & (
  | { kind: "home"; reader: UserNo }
  | { kind: "mentions"; reader: UserNo }
  | { kind: "user"; user: UserNo }
  | { kind: "tag"; tag: string }
  | { kind: "thread"; root: Offset }
  | { kind: "firehose" }
);

export const noFilter: Filter = Object.freeze({});
