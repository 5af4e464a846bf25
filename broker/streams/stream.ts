/* Stream: a set of topics and a filter, as one reader asks for it. */

import type { Filter } from "../../protocol/index.ts";
import type { Offset, UserNo } from "../state/index.ts";

export type Stream = { name: string; filter: Filter } & (
  | { kind: "home"; reader: UserNo }
  | { kind: "mentions"; reader: UserNo }
  | { kind: "user"; user: UserNo }
  | { kind: "tag"; tag: string }
  | { kind: "thread"; root: Offset }
  | { kind: "firehose" }
);

export const noFilter: Filter = Object.freeze({});
