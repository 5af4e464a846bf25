/* Entries: what happened, by offset.
 *
 *   log   offset u48 -> kind u8 | flags u8 | author u32 | at u48 | by kind:
 *
 *         post      [reply: parent u48 | parent's author u32 | root u48 | root's author u32] content
 *         repost    original u48 | original's author u32
 *         delete    target u48 | content of the target's topics (no text)
 *         follow    target u32
 *         unfollow  target u32
 *         user      (a user's first use)
 *         forgotten content of who was dropped; its author is 0, nobody
 *
 *   content = msgpack [text, mentions: user[], tags: string[], data?]; absent once deleted.
 *             of who was dropped: msgpack [users: user[], handles: string[]]
 *
 * A deleted post leaves its head here, without its content, so that what is counted by position (the recent 40 of a home
 * stream) stays the same. Heads are read without touching the content: that is what a scan of the log lives on. */

import { Packr, Unpackr } from "msgpackr";

import { type Offset, type UserNo, readU48, writeU48 } from "./bytes.ts";

export interface Content {
  text: string;
  /** Users mentioned, none twice, never the author. */
  mentions: UserNo[];
  /** Tags as given, none twice. */
  tags: string[];
  data?: unknown;
}

interface EntryBase {
  offset: Offset;
  at: number;
  author: UserNo;
}
export interface Reply {
  parent: Offset;
  parentAuthor: UserNo;
  root: Offset;
  rootAuthor: UserNo;
}
export interface PostEntry extends EntryBase {
  kind: "post";
  deleted: boolean;
  reply: Reply | undefined;
  /** Packed content; empty when deleted. */
  packed: Buffer;
}
export interface RepostEntry extends EntryBase {
  kind: "repost";
  deleted: boolean;
  original: Offset;
  originalAuthor: UserNo;
}
export interface DeleteEntry extends EntryBase {
  kind: "delete";
  target: Offset;
  /** The thread of the target, when it was a reply or can have had replies. */
  root: Offset;
  mentions: UserNo[];
  tags: string[];
  /** Whether others had reposted the target, so that their followers are told too. */
  reposted: boolean;
}
export interface FollowEntry extends EntryBase {
  kind: "follow" | "unfollow";
  target: UserNo;
}
export interface UserEntry extends EntryBase {
  kind: "user";
}
/** Users that nothing referred to were dropped by a trim. For processes and streams that have their numbers; no client is told. */
export interface ForgottenEntry extends EntryBase {
  kind: "forgotten";
  users: UserNo[];
  /** Their handles as first given, in the same order. */
  handles: string[];
}
export type Entry = PostEntry | RepostEntry | DeleteEntry | FollowEntry | UserEntry | ForgottenEntry;

const kinds = ["post", "repost", "delete", "follow", "unfollow", "user", "forgotten"] as const;
const kindNumbers = Object.fromEntries(kinds.map((kind, number) => [kind, number])) as Record<
  Entry["kind"],
  number
>;
const flag = { reply: 1, deleted: 2, reposted: 4 };
const headBytes = 12;
const replyBytes = 20;

/** `toJSON` in what a client sent is a key like any other, and is not called. */
const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: false, useToJSON: false });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });
const none = Buffer.alloc(0);

export function packContent(content: Content): Buffer {
  const { text, mentions, tags, data } = content;
  return packr.pack(data === undefined ? [text, mentions, tags] : [text, mentions, tags, data]);
}

/** The content of a post that is not deleted. */
export function unpackContent(packed: Buffer): Content {
  const [text, mentions, tags, ...rest] = unpackr.unpack(packed) as [string, UserNo[], string[], unknown?];
  return rest.length === 0 ? { text, mentions, tags } : { text, mentions, tags, data: rest[0] };
}

export function encodeEntry(entry: Entry): Buffer {
  const tail = tailOf(entry);
  const bytes = Buffer.allocUnsafe(headBytes + tail.length);
  bytes[0] = kindNumbers[entry.kind];
  bytes[1] = flagsOf(entry);
  bytes.writeUInt32BE(entry.author, 2);
  writeU48(bytes, 6, entry.at);
  tail.copy(bytes, headBytes);
  return bytes;
}

function flagsOf(entry: Entry): number {
  switch (entry.kind) {
    case "post":
      return (entry.reply === undefined ? 0 : flag.reply) | (entry.deleted ? flag.deleted : 0);
    case "repost":
      return entry.deleted ? flag.deleted : 0;
    case "delete":
      return entry.reposted ? flag.reposted : 0;
    default:
      return 0;
  }
}

function tailOf(entry: Entry): Buffer {
  switch (entry.kind) {
    case "post": {
      if (entry.reply === undefined) return entry.packed;
      const bytes = Buffer.allocUnsafe(replyBytes + entry.packed.length);
      writeU48(bytes, 0, entry.reply.parent);
      bytes.writeUInt32BE(entry.reply.parentAuthor, 6);
      writeU48(bytes, 10, entry.reply.root);
      bytes.writeUInt32BE(entry.reply.rootAuthor, 16);
      entry.packed.copy(bytes, replyBytes);
      return bytes;
    }
    case "repost": {
      const bytes = Buffer.allocUnsafe(10);
      writeU48(bytes, 0, entry.original);
      bytes.writeUInt32BE(entry.originalAuthor, 6);
      return bytes;
    }
    case "delete": {
      const topics = packr.pack([entry.root, entry.mentions, entry.tags]);
      const bytes = Buffer.allocUnsafe(6 + topics.length);
      writeU48(bytes, 0, entry.target);
      topics.copy(bytes, 6);
      return bytes;
    }
    case "follow":
    case "unfollow": {
      const bytes = Buffer.allocUnsafe(4);
      bytes.writeUInt32BE(entry.target, 0);
      return bytes;
    }
    case "user":
      return none;
    case "forgotten":
      return packr.pack([entry.users, entry.handles]);
  }
}

export function decodeEntry(offset: Offset, bytes: Buffer): Entry {
  const kind = kinds[bytes[0]!];
  const flags = bytes[1]!;
  const author = bytes.readUInt32BE(2);
  const at = readU48(bytes, 6);
  switch (kind) {
    case "post": {
      const isReply = (flags & flag.reply) !== 0;
      const reply = isReply
        ? {
            parent: readU48(bytes, headBytes),
            parentAuthor: bytes.readUInt32BE(headBytes + 6),
            root: readU48(bytes, headBytes + 10),
            rootAuthor: bytes.readUInt32BE(headBytes + 16),
          }
        : undefined;
      const packed = bytes.subarray(isReply ? headBytes + replyBytes : headBytes);
      return { kind, offset, at, author, deleted: (flags & flag.deleted) !== 0, reply, packed };
    }
    case "repost": {
      const original = readU48(bytes, headBytes);
      const originalAuthor = bytes.readUInt32BE(headBytes + 6);
      return { kind, offset, at, author, deleted: (flags & flag.deleted) !== 0, original, originalAuthor };
    }
    case "delete": {
      const target = readU48(bytes, headBytes);
      const [root, mentions, tags] = unpackr.unpack(bytes.subarray(headBytes + 6)) as [
        Offset,
        UserNo[],
        string[],
      ];
      return {
        kind,
        offset,
        at,
        author,
        target,
        root,
        mentions,
        tags,
        reposted: (flags & flag.reposted) !== 0,
      };
    }
    case "follow":
    case "unfollow":
      return { kind, offset, at, author, target: bytes.readUInt32BE(headBytes) };
    case "user":
      return { kind, offset, at, author };
    case "forgotten": {
      const [users, handles] = unpackr.unpack(bytes.subarray(headBytes)) as [UserNo[], string[]];
      return { kind, offset, at, author, users, handles };
    }
    default:
      throw new Error(`entry ${offset} is of the unknown kind ${bytes[0]}: the store is damaged`);
  }
}
