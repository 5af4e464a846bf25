/* Meta: the few facts about the whole store.
 *
 *   meta   "state"    msgpack of Meta
 *          "applied"  offset u48      (alone, since every snapshot reads it)
 *          "clock"    msgpack of ClockRecord; not there in a store that has none */

import { Packr, unpack } from "msgpackr";

import { type Offset, type UserNo, readU48, u48Key } from "./bytes.ts";
import type { Table } from "./environment.ts";
import type { OpeningMark } from "./opening.ts";

/** The version of every layout in the store. A store of another version is refused, never guessed at. */
export const formatVersion = 2;

export interface Meta {
  format: number;
  /** Each epoch's name and the offset after which it began, oldest first; the last is the current one. */
  epochs: { name: string; after: Offset }[];
  /** The broker that has it open, or had, answers commands before they are on disk. */
  isAnsweringEarly: boolean;
  /** Entries at or below it are gone. */
  floor: Offset;
  /** The number the next new user gets. */
  nextUser: UserNo;
  /** The newest command's time, in ms since the Unix epoch. Times never run backwards. */
  lastAt: number;
  /** Who opened it last (opening.ts). */
  opening?: OpeningMark;
  /** Of a node of a cluster: how far it has applied the cluster's log. */
  cluster?: ClusterMark;
}

/** A place in a cluster's log. Moves in one transaction with what was applied up to it. */
export interface ClusterMark {
  /** When the log's stream was created, as NATS tells it: which log it is. */
  created: string;
  /** The sequence of the last message applied; 0 before the first. */
  seq: number;
  /** When NATS stored that message, in ns since the Unix epoch to a double's precision: which message it was. */
  time: number;
  /** How far each writer has come (cluster/writers.ts). */
  writers: Readonly<Record<string, WriterMark>>;
}

/** The last batch of one writer that counted, and its sequence in the log. */
export interface WriterMark {
  generation: number;
  number: number;
  seq: number;
}

const packr = new Packr({ useRecords: false, useToJSON: false });

/** What a broker notes of its clock, for one that opens the store later. Is no part of the history, and the same in no two folders. */
export interface ClockRecord {
  /** Which start of the machine it is of. */
  boot: string;
  /** What the clock said, in ms since the Unix epoch, when the machine had been up for so many ms. */
  wall: number;
  uptime: number;
}

const stateKey = Buffer.from("state");
const appliedKey = Buffer.from("applied");
const clockKey = Buffer.from("clock");

export function readMeta(table: Table): Meta | undefined {
  const bytes = table.get(stateKey);
  return bytes === undefined ? undefined : (unpack(bytes) as Meta);
}

export function writeMeta(table: Table, meta: Meta): void {
  table.putSync(stateKey, packr.pack(meta));
}

/** The offset of the last command applied, as the present snapshot has it. */
export function readApplied(table: Table): Offset {
  const bytes = table.get(appliedKey);
  return bytes === undefined ? 0 : readU48(bytes, 0);
}

export function writeApplied(table: Table, applied: Offset): void {
  table.putSync(appliedKey, u48Key(applied));
}

export function readClock(table: Table): ClockRecord | undefined {
  const bytes = table.get(clockKey);
  return bytes === undefined ? undefined : (unpack(bytes) as ClockRecord);
}

export function writeClock(table: Table, record: ClockRecord): void {
  table.putSync(clockKey, packr.pack(record));
}
