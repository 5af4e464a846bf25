/* State: what is true now, and the one way to change it.
 *
 * `commit` applies a batch of commands in one transaction: the tables and the applied offset move together or not at all.
 * Readers use the nouns (users, follows, topics, …) directly; what they read may be committed but not yet durable, so
 * whoever sends it out waits for the log to say that `applied()` is.
 *
 * A store has one writer. Other processes of the same broker open it by `openReader`, and what such a State keeps in memory
 * follows the log: at each `refresh` it looks at the entries that came since, forgets what they changed, and hands them
 * over by `takeEntries`. All reads after a `refresh`, in the same synchronous stretch, agree with what is kept.
 *
 * Knows no socket, no clock, no NATS. */

import { mkdirSync } from "node:fs";

import { type Outcome, apply } from "./apply.ts";
import { type Offset, type UserNo, briefU48, u48Key } from "./bytes.ts";
import type { Stamped } from "./commands.ts";
import { type Cursor, CursorError, type CursorKey, Cursors } from "./cursors.ts";
import { Environment, type StoreSize, isForWantOfRoom } from "./environment.ts";
import { newEpochName } from "./epoch-name.ts";
import { type Entry, decodeEntry, encodeEntry } from "./entries.ts";
import { FolderError, folderMode, narrowFiles, opennessOf } from "./folder.ts";
import { type FolderLock, lockFolder } from "./folder-lock.ts";
import { Follows } from "./follows.ts";
import { type StoreReport, inspectStore } from "./inspect.ts";
import {
  type ClockRecord,
  type ClusterMark,
  type Meta,
  formatVersion,
  readApplied,
  readClock,
  readMeta,
  writeApplied,
  writeClock,
  writeMeta,
} from "./meta.ts";
import { copyReason, draftOpening, newOpening, readOpening, refuseLostStore } from "./opening.ts";
import { OwnFiles } from "./own-files.ts";
import { Positions } from "./positions.ts";
import { PublishKeys } from "./publish-keys.ts";
import { whenReaderIdIsFree } from "./reader-id.ts";
import { RecentMap } from "./recent-map.ts";
import { Reposts } from "./reposts.ts";
import { Topics } from "./topics.ts";
import { Unclaimed } from "./unclaimed.ts";
import { Users } from "./users.ts";

export interface Commit {
  /** The outcomes in the order of the commands, once committed. Rejects when nothing was applied. */
  readonly outcomes: Promise<Outcome[]>;
  /** Settles once they are on disk. */
  readonly flushed: Promise<void>;
}

export interface OpenOptions {
  /**
   * False says that commands will be answered before they are on disk. After an unclean stop of such a broker readers may hold
   * cursors of entries that never were: the epoch changes, so that they are refused and not believed. @default true
   */
  isDurable?: boolean;
  /** The epoch changes for the caller's reasons. */
  isNewEpoch?: boolean;
  /** Looks at what the store says of itself before it is opened; by throwing it leaves the store as it is. */
  examine?: (store: StoreReport) => void;
  /** The store is known to be a copy of which nothing is missing: the epoch stays. */
  isSameEpoch?: boolean;
}

/** What a writer has beside the store. */
interface Ownership {
  path: string;
  lock: FolderLock;
  files: OwnFiles;
}

/** How the opening of a store went. */
interface Opened {
  meta: Meta;
  notices: string[];
}

/** Entries kept decoded, in bytes: about 64,000 posts of 200. */
const keptBytes = 33_554_432;
/** An entry without its content, about. */
const entryBytes = 300;
const appendOnly = { append: true };
const overwrite = {};

export class State {
  readonly users: Users;
  readonly unclaimed: Unclaimed;
  readonly follows: Follows;
  readonly topics: Topics;
  readonly reposts: Reposts;
  readonly publishKeys: PublishKeys;
  readonly cursors: Cursors;
  readonly positions: Positions;
  readonly #environment: Environment;
  /** What is to be said to the broker's operator of how the store was found. */
  readonly notices: readonly string[];
  /** Undefined for a reader: the writer has it. */
  readonly #own: Ownership | undefined;
  /** Of a reader: entries that came and were not taken yet. */
  #arrived: Entry[] | undefined;
  readonly #entries = new RecentMap<Offset, Entry>(keptBytes / 2, bytesOf);
  /** Offsets of entries that the transactions under way replace or remove. */
  readonly #changed: Offset[] = [];
  #meta: Meta;
  #head: Offset;
  /** How far the store had come when that was noted last, and the note that is being written. */
  #notedHead: Offset;
  #noting: Promise<void> | undefined;

  /**
   * Opens the store in the folder `path`, or makes one. @throws FolderError when the folder cannot be used.
   *
   * The epoch changes when history may have been lost: see `OpenOptions`, and when the store turns out to be a copy put back in
   * its place (opening.ts). Not that of a node of a cluster: its place in the log says what it lacks, and it reads that from there.
   */
  static async open(path: string, options: OpenOptions = {}): Promise<State> {
    const lock = await lockFolder(path);
    try {
      await whenReaderIdIsFree(path);
      const store = await inspectStore(path);
      if (store === undefined) await refuseLostStore(path);
      else {
        refuseOtherFormat(path, store);
        options.examine?.(store);
      }
      const environment = new Environment(path);
      await narrowFiles(path);
      const { meta, notices } = await noteOpening(path, environment, options).catch(
        async (error: unknown) => {
          await environment.close();
          throw error;
        },
      );
      const openness = await opennessOf(path);
      if (openness !== undefined) notices.push(openness);
      return new State(environment, meta, { own: { path, lock, files: new OwnFiles(path) }, notices });
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** Opens, to read alone, the store in the folder `path` that another process has open and writes. See `whenReaderIdIsFree`. */
  static openReader(path: string): State {
    const environment = new Environment(path, { readOnly: true });
    const meta = readMeta(environment.tables.meta);
    if (meta === undefined) throw new Error(`data folder ${path}: nothing was written there yet`);
    const state = new State(environment, meta);
    state.#arrived = [];
    return state;
  }

  private constructor(
    environment: Environment,
    meta: Meta,
    { own, notices = [] }: { own?: Ownership; notices?: readonly string[] } = {},
  ) {
    const { tables } = environment;
    this.#environment = environment;
    this.#own = own;
    this.notices = notices;
    this.#meta = meta;
    this.#head = readApplied(tables.meta);
    this.#notedHead = this.#head;
    this.users = new Users(tables);
    this.unclaimed = new Unclaimed(tables);
    this.follows = new Follows(tables);
    this.topics = new Topics(tables);
    this.reposts = new Reposts(tables.reposts);
    this.publishKeys = new PublishKeys(tables);
    this.cursors = new Cursors(tables.cursors);
    this.positions = new Positions(meta.epochs);
  }

  /** The facts about the store as the newest transaction left them. */
  get meta(): Readonly<Meta> {
    return this.#meta;
  }

  /** Why nothing may be written: the files at the path are not those that are open. Looked at again after 100 ms. */
  get trouble(): string | undefined {
    return this.#own?.files.trouble;
  }

  /** The offset of the last command applied, as the present snapshot has it. Reads made in the same synchronous stretch agree. */
  applied(): Offset {
    return readApplied(this.#environment.tables.meta);
  }

  /** Takes a fresh snapshot. */
  refresh(): void {
    this.#environment.refresh();
    if (this.#arrived !== undefined) this.#follow(this.#arrived);
  }

  /** Of a reader: the entries up to `upTo` that came since the last call, `most` at most. */
  takeEntries(upTo: Offset, most: number): Entry[] {
    const arrived = this.#arrived ?? [];
    let count = 0;
    while (count < most && count < arrived.length && arrived[count]!.offset <= upTo) count++;
    return arrived.splice(0, count);
  }

  /** Brings what is kept in memory to the snapshot. Whatever changes an entry is an entry itself, but for a trim. */
  #follow(arrived: Entry[]): void {
    const applied = this.applied();
    if (applied === this.#head) return;
    const { floor } = this.#meta;
    this.#meta = readMeta(this.#environment.tables.meta) ?? this.#meta;
    for (let gone = floor + 1; gone <= this.#meta.floor; gone++) this.#entries.delete(gone);
    for (const entry of this.entries(this.#head, applied)) {
      if (entry.kind === "delete") this.#entries.delete(entry.target);
      if (entry.kind === "forgotten")
        entry.users.forEach((user, i) => this.users.forget(user, entry.handles[i]!));
      if (entry.kind === "post" || entry.kind === "repost" || entry.kind === "delete")
        this.topics.note(entry.author, entry.offset);
      arrived.push(entry);
    }
    this.#head = applied;
  }

  /** Frees pages that readers which died keep from being reused. */
  forgetDeadReaders(): void {
    this.#environment.forgetDeadReaders();
  }

  /** The process ids of those that may keep pages from being reused. */
  readers(): string[] {
    return this.#environment.readers();
  }

  /** Applies `commands` in one transaction, which in a cluster moves the place in its log, too. Calls take effect in their order. */
  commit(commands: Stamped[], cluster?: ClusterMark): Commit {
    const { committed, flushed } = this.#environment.transact(() => {
      this.#reload(); // from within the transaction: what an undone one left in memory is not believed
      this.#meta = { ...this.#meta, lastAt: commands.at(-1)?.at ?? this.#meta.lastAt };
      if (cluster !== undefined) this.#meta = { ...this.#meta, cluster };
      this.publishKeys.begin();
      this.unclaimed.begin();
      const outcomes = commands.map((command) => apply(this, ++this.#head, command));
      this.publishKeys.end();
      this.unclaimed.end();
      writeMeta(this.#environment.tables.meta, this.#meta);
      writeApplied(this.#environment.tables.meta, this.#head);
      return outcomes;
    });
    const outcomes = committed.then(
      (results) => {
        // Only now: until the commit a reader may still have read, and kept, what it replaces.
        for (const offset of this.#changed.splice(0)) this.#entries.delete(offset);
        this.users.settle(true);
        return results;
      },
      (error: unknown) => {
        this.#changed.length = 0;
        this.#environment.refresh();
        this.#reload();
        this.users.settle(false);
        throw error;
      },
    );
    return { outcomes, flushed };
  }

  /** Notes that the store is that of a node of a cluster, at this place in its log. Settles once it is on disk. */
  async enterCluster(cluster: ClusterMark): Promise<void> {
    this.#meta = { ...this.#meta, cluster };
    await writeMetaAlone(this.#environment, this.#meta);
  }

  /** Notes that it is that of no cluster any more. */
  async leaveCluster(): Promise<void> {
    const { cluster: _, ...meta } = this.#meta;
    this.#meta = meta;
    await writeMetaAlone(this.#environment, meta);
  }

  /** What a broker has noted of its clock; undefined when none has. */
  get clock(): ClockRecord | undefined {
    return readClock(this.#environment.tables.meta);
  }

  async noteClock(record: ClockRecord): Promise<void> {
    await this.#environment.transact(() => writeClock(this.#environment.tables.meta, record)).committed;
  }

  /** Notes beside the store that it has come to `head`, which is on disk: what is put back after a kill is known by it (opening.ts). */
  async noteHead(head: Offset): Promise<void> {
    const opening = this.#meta.opening?.name;
    if (this.#own === undefined || opening === undefined) return;
    if (head <= this.#notedHead || this.#noting !== undefined) return;
    this.#notedHead = head;
    this.#noting = noteHead(this.#own.path, opening, head).finally(() => (this.#noting = undefined));
    await this.#noting;
  }

  /** Somebody says that it is `at`, in ms since the Unix epoch: what is later was the doing of a wrong clock, and no command is after it any more. Of
   *  a broker that stands alone; nodes of a cluster have one time. Settles once it is on disk. */
  async setTimeBack(at: number): Promise<void> {
    if (this.#meta.lastAt <= at) return;
    const { committed, flushed } = this.#environment.transact(() => {
      this.#reload();
      this.#meta = { ...this.#meta, lastAt: Math.min(this.#meta.lastAt, at) };
      this.publishKeys.setTimeBack(at);
      writeMeta(this.#environment.tables.meta, this.#meta);
    });
    await committed;
    await flushed;
  }

  #reload(): void {
    this.#meta = readMeta(this.#environment.tables.meta) ?? this.#meta;
    this.#head = readApplied(this.#environment.tables.meta);
  }

  /**
   * Writes cursors in a transaction of their own. Settles once they are on disk, with those that there was no room for. One that
   * cannot be written, whatever room there is, is left out alone, and told to `onRefused`.
   */
  async writeCursors(
    cursors: Iterable<[CursorKey, Cursor & { isFromElsewhere?: boolean }]>,
    onRefused: (key: CursorKey, error: CursorError) => void = () => {},
  ): Promise<CursorKey[]> {
    const refused: [CursorKey, CursorError][] = [];
    const { committed, flushed } = this.#environment.transact(() => {
      const removed: CursorKey[] = [];
      for (const [key, cursor] of cursors) {
        try {
          const gone = this.cursors.put(key, cursor, cursor.isFromElsewhere);
          if (gone !== undefined) removed.push(gone);
        } catch (error) {
          if (!(error instanceof CursorError)) throw error;
          refused.push([key, error]);
        }
      }
      return removed;
    });
    await flushed;
    for (const [key, error] of refused) onRefused(key, error);
    return committed;
  }

  /** The entry at `offset`. Those read lately are kept, since many readers read the same. Not within a transaction. */
  entry(offset: Offset): Entry | undefined {
    const kept = this.#entries.get(offset);
    if (kept !== undefined) return kept;
    const entry = this.storedEntry(offset);
    if (entry !== undefined) this.#entries.set(offset, entry);
    return entry;
  }

  /** The entries in (`after`, `upTo`], in order. Not every offset has one: a refused command has none. */
  *entries(after: Offset, upTo: Offset): Generator<Entry> {
    const range = { start: u48Key(after + 1), end: u48Key(upTo + 1) };
    for (const { key, value } of this.#environment.tables.log.getRange(range)) {
      yield decodeEntry(Buffer.from(key.buffer, key.byteOffset, key.byteLength).readUIntBE(0, 6), value);
    }
  }

  /** The entries before `before`, the newest first. */
  *entriesBefore(before: Offset): Generator<Entry> {
    const range = { start: u48Key(before - 1), end: u48Key(0), reverse: true };
    for (const { key, value } of this.#environment.tables.log.getRange(range)) {
      yield decodeEntry(Buffer.from(key.buffer, key.byteOffset, key.byteLength).readUIntBE(0, 6), value);
    }
  }

  /** The first entry after `after`, or undefined. */
  firstEntryAfter(after: Offset): Entry | undefined {
    for (const entry of this.entries(after, this.#head)) return entry;
    return undefined;
  }

  size(): StoreSize {
    return this.#environment.size();
  }

  /** Writes a whole copy of the newest commit, without free pages, into `folder`, which is made. Commits go on meanwhile. */
  async copyTo(folder: string): Promise<void> {
    const trouble = this.#own?.files.look(); // made where the folder was, the copy would lie in a new one
    if (trouble !== undefined) throw new FolderError(trouble);
    // Not awaited, so that a close that comes next finds the copy under way.
    mkdirSync(folder, { recursive: true, mode: folderMode });
    await this.#environment.copyTo(folder);
  }

  /** Waits for what is being written or copied, then lets go of the folder. */
  async close(): Promise<void> {
    const own = this.#own;
    if (own === undefined) {
      await this.#environment.close();
      return;
    }
    if (this.#meta.isAnsweringEarly)
      await writeMetaAlone(this.#environment, { ...this.#meta, isAnsweringEarly: false });
    this.#environment.refresh();
    const meta = readMeta(this.#environment.tables.meta);
    const head = this.applied();
    await this.#environment.close();
    await this.#noting;
    if (meta?.opening !== undefined && own.files.look() === undefined)
      await noteHead(own.path, meta.opening.name, head);
    await own.lock.release();
  }

  // What follows changes the tables, and is for `apply` alone, within a transaction.

  /** The number of `handle`; a new one when it is used for the first time, and then `isClaimed` says whether it is there to stay. */
  user(handle: string, isClaimed: boolean): UserNo {
    const known = this.users.find(handle);
    if (known !== undefined) return known;
    const user = this.#meta.nextUser;
    this.#meta = { ...this.#meta, nextUser: user + 1 };
    this.users.create(user, handle);
    this.unclaimed.create(user, isClaimed);
    return user;
  }

  /** Nothing refers to `user` any more. Returns the handle. */
  dropUser(user: UserNo): string {
    this.unclaimed.remove(user);
    return this.users.drop(user);
  }

  /** The entry at `offset`, as the transaction has it. */
  storedEntry(offset: Offset): Entry | undefined {
    const bytes = this.#environment.tables.log.get(briefU48(offset));
    return bytes === undefined ? undefined : decodeEntry(offset, bytes);
  }

  putEntry(entry: Entry): void {
    if (entry.offset !== this.#head) this.#changed.push(entry.offset);
    // A new entry is the last of its table: told so, LMDB fills its pages to the brim.
    const options = entry.offset === this.#head ? appendOnly : overwrite;
    this.#environment.tables.log.putSync(briefU48(entry.offset), encodeEntry(entry), options);
  }

  removeEntry(offset: Offset): void {
    this.#changed.push(offset);
    this.#environment.tables.log.removeSync(u48Key(offset));
  }

  setFloor(floor: Offset): void {
    this.#meta = { ...this.#meta, floor };
  }
}

function bytesOf(entry: Entry): number {
  return entryBytes + (entry.kind === "post" ? entry.packed.length : 0);
}

/** A store of another version is left as it is. @throws FolderError */
function refuseOtherFormat(path: string, { format }: StoreReport): void {
  if (format === formatVersion) return;
  throw new FolderError(
    `data folder ${path}: its format is version ${format}, this broker reads version ${formatVersion}; ` +
      `use the broker that wrote it, or choose another folder with --data`,
  );
}

function firstMeta(): Meta {
  return {
    format: formatVersion,
    epochs: [{ name: newEpochName(), after: 0 }],
    isAnsweringEarly: false,
    floor: 0,
    nextUser: 1,
    lastAt: 0,
  };
}

/** Writes, into the store and beside it, who has it open and how this run answers; begins a new epoch where one is due. */
async function noteOpening(
  path: string,
  environment: Environment,
  { isDurable = true, isNewEpoch = false, isSameEpoch = false }: OpenOptions,
): Promise<Opened> {
  const { tables } = environment;
  const found = readMeta(tables.meta);
  const before = found ?? firstMeta();
  const head = readApplied(tables.meta);
  const notices: string[] = [];
  let isEpochOver = before.isAnsweringEarly || isNewEpoch;
  if (found !== undefined && before.cluster === undefined && !isEpochOver) {
    const copied = await copyReason(path, await readOpening(path), { mark: before.opening, head });
    isEpochOver = copied !== undefined && !isSameEpoch;
    if (copied !== undefined) notices.push(copyNotice(path, copied, isEpochOver));
  }
  const meta: Meta = { ...before, isAnsweringEarly: !isDurable, opening: newOpening(before.opening) };
  if (isEpochOver) meta.epochs = [...before.epochs, { name: newEpochName(), after: head }];
  try {
    const draft = await draftOpening(path, { opening: meta.opening!.name, head });
    try {
      await writeMetaAlone(environment, meta);
    } catch (error) {
      await draft.discard();
      throw error;
    }
    await draft.place();
    return { meta, notices };
  } catch (error) {
    // On a full disk a broker still starts: what there is is read, and deletes make room.
    const mustWrite = found === undefined || isEpochOver || before.isAnsweringEarly === isDurable;
    if (mustWrite || !isForWantOfRoom(error)) throw error;
    notices.push(`data folder ${path}: there is no room to note who opened it (${(error as Error).message})`);
    return { meta: before, notices };
  }
}

function copyNotice(path: string, copied: string, isEpochOver: boolean): string {
  if (!isEpochOver) return `data folder ${path}: ${copied}; the epoch stays the same, as was asked for`;
  return (
    `data folder ${path}: ${copied}, so this is a copy put back, and a new epoch begins: cursors from before are refused with epoch_mismatch. ` +
    "Where nothing was answered since the copy was made, start a copy with --same-epoch"
  );
}

/** How far the store has come. Where it cannot be written, what was written before is still true. */
async function noteHead(path: string, opening: string, head: Offset): Promise<void> {
  try {
    const draft = await draftOpening(path, { opening, head });
    await draft.place();
  } catch {
    // see above
  }
}

async function writeMetaAlone(environment: Environment, meta: Meta): Promise<void> {
  const { committed, flushed } = environment.transact(() => writeMeta(environment.tables.meta, meta));
  await committed;
  await flushed;
}
