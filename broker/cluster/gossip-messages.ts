/* Gossip messages: what nodes say to each other about cursors.
 *
 *   { v, epoch, run, node, kind, … }    msgpack
 *
 *   to all       update     cursors that were moved at this node: its `number`th such message
 *                standing   what it has of its own and of others' updates
 *                hello      asks for everyone's standing
 *                find       asks who has these cursors
 *                bye        it ends
 *   `cursors` are those of generation 0 and up; provisional ones are beside them in `begun`, without their generation, which a node of
 *   an older version does not look at.
 *
 *   to one       standing   answers its hello
 *                found      answers its find
 *                page       asks for the cursors after one, or from the beginning. It is replied to with
 *                rows       some of them, where to go on, and at the beginning what all of them together cover
 *                refused    that it cannot be answered now
 *
 * A message is of one epoch; cursors of different epochs cannot be compared. A cursor that cannot be one is left out of what came,
 * and the others are taken: one fault of one client's must not keep nodes from each other's cursors. */

import { Packr, Unpackr } from "msgpackr";

import { type Cursor, type CursorKey, maxCursorKeyBytes, maxOffset, provisional } from "../state/index.ts";
import type { Numbers, Run } from "./versions.ts";

/** The version of these messages. Those of a newer one are not understood, and passed over. */
export const gossipFormat = 1;

/** A cursor, its offset, its generation. */
export type CursorRow = [CursorKey, number, number];
/** A provisional one on the wire. */
type BegunRow = [CursorKey, number];

export type GossipBody =
  | { kind: "update"; number: number; cursors: CursorRow[] }
  | { kind: "standing"; have: Numbers }
  | { kind: "hello" }
  | { kind: "find"; ticket: number; keys: CursorKey[] }
  | { kind: "found"; ticket: number; cursors: CursorRow[] }
  | { kind: "page"; after: CursorKey | null }
  | { kind: "rows"; cursors: CursorRow[]; next: CursorKey | null; have: Numbers | null }
  | { kind: "refused" }
  | { kind: "bye" };

export type GossipMessage = { epoch: string; run: Run; node: string } & GossipBody;

/** A message that is passed over. */
export class GossipError extends Error {
  override readonly name = "GossipError";
}

/** A longer one is no cursor's that could be kept, in bytes: nobody is told of it. */
export const maxKeyBytes = maxCursorKeyBytes;
/** A seek raises a generation by one: none gets here by seeking, and from below it none gets past what its 32 bits hold. */
const maxGeneration = 2 ** 31;
/** Runs told of in one message. */
const maxRuns = 1_024;

const packr = new Packr({ useRecords: false, variableMapSize: true, useToJSON: false });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });

export function encodeGossip(message: GossipMessage): Uint8Array {
  return packr.pack({ v: gossipFormat, ...message, ...begunApart(message) });
}

/** A message's provisional cursors apart from the others, if there are any. */
function begunApart(message: GossipMessage): { cursors: CursorRow[]; begun: BegunRow[] } | undefined {
  if (!("cursors" in message)) return undefined;
  const begun = message.cursors.filter(isProvisional);
  if (begun.length === 0) return undefined;
  const cursors = message.cursors.filter((row) => !isProvisional(row));
  return { cursors, begun: begun.map(([key, offset]) => [key, offset]) };
}

/** @throws GossipError when it is of a newer version, or none at all */
export function decodeGossip(bytes: Uint8Array): GossipMessage {
  const message = unpacked(bytes);
  const { v, epoch, run, node } = message;
  if (typeof v !== "number") throw new GossipError("it has no version");
  if (v > gossipFormat)
    throw new GossipError(`it has version ${v}, this node reads up to ${gossipFormat}: upgrade this node`);
  if (!isName(epoch) || !isName(run) || !isName(node)) throw new GossipError("it does not say whose it is");
  leaveOutFaulty(message);
  if (!isBody(message)) throw new GossipError(`its kind is unknown, or it is not what its kind asks for`);
  joinBegun(message);
  return message as unknown as GossipMessage;
}

function isProvisional(row: CursorRow): boolean {
  return Array.isArray(row) && row[2] === provisional;
}

function joinBegun(message: Record<string, unknown>): void {
  const { begun, cursors } = message;
  if (!Array.isArray(begun) || !Array.isArray(cursors)) return;
  delete message["begun"];
  for (const row of begun) if (isBegun(row)) cursors.push([...row, provisional]);
}

/** Takes what is no cursor out of the lists of `message`. Where the last of a page is, the page goes on after the last that is one. */
function leaveOutFaulty(message: Record<string, unknown>): void {
  const { cursors, keys, next } = message;
  if (Array.isArray(keys)) message["keys"] = keys.filter(isKey);
  if (!Array.isArray(cursors)) return;
  const rows = cursors.filter(isRow);
  message["cursors"] = rows;
  if (typeof next === "string" && !isKey(next)) message["next"] = rows.at(-1)?.[0];
}

function unpacked(bytes: Uint8Array): Record<string, unknown> {
  let message: unknown;
  try {
    message = unpackr.unpack(bytes);
  } catch (cause) {
    throw new GossipError("it is not valid msgpack", { cause });
  }
  if (typeof message !== "object" || message === null) throw new GossipError("it is no map");
  return message as Record<string, unknown>;
}

function isBody(message: Record<string, unknown>): boolean {
  switch (message["kind"]) {
    case "update":
      return isCount(message["number"]) && isRows(message["cursors"]);
    case "standing":
      return isNumbers(message["have"]);
    case "find":
      return isCount(message["ticket"]) && Array.isArray(message["keys"]) && message["keys"].every(isKey);
    case "found":
      return isCount(message["ticket"]) && isRows(message["cursors"]);
    case "page":
      return message["after"] === null || isKey(message["after"]);
    case "rows":
      return (
        isRows(message["cursors"]) &&
        (message["next"] === null || isKey(message["next"])) &&
        (message["have"] === null || isNumbers(message["have"]))
      );
    case "hello":
    case "refused":
    case "bye":
      return true;
    default:
      return false;
  }
}

function isRows(value: unknown): boolean {
  return Array.isArray(value) && value.every(isRow);
}

function isRow(value: unknown): value is CursorRow {
  if (!Array.isArray(value) || value.length !== 3) return false;
  const [key, offset, generation] = value as unknown[];
  return (
    isKey(key) && isCount(offset) && offset <= maxOffset && isCount(generation) && generation < maxGeneration
  );
}

function isBegun(value: unknown): value is BegunRow {
  return Array.isArray(value) && value.length === 2 && isRow([...(value as unknown[]), 0]);
}

/** USER 0 DEVICE 0 STREAM, as state/cursors.ts has it, and no longer than can be kept. */
export function isKey(value: unknown): value is CursorKey {
  if (typeof value !== "string" || Buffer.byteLength(value) > maxKeyBytes) return false;
  const [user = "", ...names] = value.split("\u0000");
  return names.length >= 2 && /^[1-9][0-9]{0,9}$/.test(user) && Number(user) < 2 ** 32;
}

function isNumbers(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const entries = Object.entries(value);
  return entries.length <= maxRuns && entries.every(([run, number]) => isName(run) && isCount(number));
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= 256;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export function rowOf([key, { offset, generation }]: [CursorKey, Cursor]): CursorRow {
  return [key, offset, generation];
}

/** The bytes that a row takes in a message, at most. */
export function bytesOfRow(key: CursorKey): number {
  return Buffer.byteLength(key) + 24;
}
