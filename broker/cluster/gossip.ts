/* Gossip: cursors from node to node over plain NATS.
 *
 *   moved here ──on disk──> tell ──> update ──> merged by every other node
 *   asked for here, not known here ──> find ──> merged, then answered
 *   joined, or something missed ──> hello, standings ──> pages of one peer ──> merged
 *
 * NATS promises nothing here, and need not: a cursor is a maximum, so updates may come twice, late, in any order, and what
 * got lost is noticed. Each node says every few seconds how much it has of its own and of others' updates (versions.ts); who
 * lacks something fetches all cursors of one that has it. While NATS is away updates gather, the newest for each cursor, up to
 * a bound; past it they are dropped, as if they had been sent and got lost.
 *
 * Not here: what a cursor is (state/cursors.ts), which one is in force and where it is kept (sessions/cursor-keeper.ts). */

import { randomBytes } from "node:crypto";

import { Events, type Msg, type NatsConnection, type Subscription } from "nats";

import type { Logger } from "../logger.ts";
import { Complaints } from "../sessions/index.ts";
import { type Cursor, type CursorKey, isLater } from "../state/index.ts";
import { Finder } from "./finder.ts";
import {
  type CursorRow,
  type GossipBody,
  type GossipMessage,
  bytesOfRow,
  decodeGossip,
  encodeGossip,
  isKey,
  maxKeyBytes,
  rowOf,
} from "./gossip-messages.ts";
import { Peers } from "./peers.ts";
import { Resync } from "./resync.ts";
import { type Run, Versions } from "./versions.ts";

/** One message, in bytes, about; less where NATS takes less. */
const maxMessageBytes = 262_144;
/** Cursors in one message: few enough to merge and write, or to read, without holding up the event loop. */
const maxRows = 500;
/** Cursors that wait for NATS. */
const maxPending = 100_000;
/** A page or an answer that does not come within so long is not coming, in ms. */
const pageMs = 5_000;
const findMs = 1_000;
/** How long NATS has to take what is told last, in ms. */
const leaveMs = 1_000;
/** How long after a hello all who are there have answered, in ms. */
const helloMs = 500;
/** How often to say what is had, in ms. */
const standingMs = 5_000;
/** A node not heard of for so many standings is not there. */
const missedStandings = 3;
/** How long others are told of a run that ended, and how long it is remembered, in ms. */
const toldOfMs = 600_000;
const rememberedMs = 3_600_000;

/** The cursors of this node. */
export interface GossipedCursors {
  get(key: CursorKey): Cursor | undefined;
  /** False when it could not be taken. */
  merge(key: CursorKey, cursor: Cursor): boolean;
  after(key: CursorKey | undefined): Iterable<[CursorKey, Cursor]>;
  flush(): Promise<void>;
}

export interface GossipOptions {
  connection: NatsConnection;
  /** Where all nodes hear of cursors; each hears what is for it alone below. */
  subject: string;
  /** This node's name. */
  node: string;
  /** The history that the cursors belong to. */
  epoch: () => string;
  cursors: GossipedCursors;
  logger: Logger;
  /** How often to say what is had, in ms. @default 5,000 */
  standingMs?: number;
  /** Cursors that may wait while NATS is away. @default 100,000 */
  maxPending?: number;
}

export class Gossip {
  /** This run of this node. */
  readonly run: Run = randomBytes(8).toString("hex");
  readonly #options: GossipOptions;
  readonly #subscriptions: Subscription[];
  readonly #versions = new Versions(this.run);
  readonly #peers = new Peers();
  readonly #finder: Finder;
  readonly #resync: Resync;
  readonly #complaints = new Complaints();
  readonly #timer: NodeJS.Timeout;
  /** Of this run's updates, the last. */
  #number = 0;
  #pending = new Map<CursorKey, Cursor>();
  #isConnected: boolean;
  #isClosed = false;
  /** Pending until everyone who is there has had time to answer a hello. */
  #greeting: Promise<void> | undefined;

  constructor(options: GossipOptions) {
    const { connection, subject, cursors, logger } = options;
    this.#options = options;
    this.#finder = new Finder({
      peers: this.#peers,
      ask: (ticket, keys) => this.#send({ kind: "find", ticket, keys }),
      maxBytes: () => this.#maxBytes,
      findMs,
    });
    this.#resync = new Resync({
      peers: this.#peers,
      versions: this.#versions,
      page: (run, after) => this.#askPage(run, after),
      merge: (rows) => this.#merge(rows),
      flush: () => cursors.flush(),
      onDone: (node, count) => logger.debug({ node, cursors: count }, "cursors fetched"),
      onFailure: (node, error) => logger.warn({ node, err: error }, "cursors could not be fetched"),
    });
    this.#isConnected = connection.info !== undefined;
    this.#subscriptions = [subject, `${subject}.${this.run}`].map((name) =>
      connection.subscribe(name, {
        callback: (error, message) => {
          if (error === null) this.#receive(message);
          else this.#complain("cursors cannot be heard of", error);
        },
      }),
    );
    void this.#watch();
    this.#timer = setInterval(() => this.#stand(), this.#standingMs);
    this.#timer.unref();
    if (this.#isConnected) this.#greet();
  }

  /** All that the others had when they were last heard is had here: what is not known here is known nowhere. */
  get isCurrent(): boolean {
    return this.#isConnected && this.#greeting === undefined && !this.#resync.isBehind;
  }

  /** Cursors were moved here, and are on disk. */
  tell(cursors: Iterable<[CursorKey, Cursor]>): void {
    for (const [key, cursor] of cursors)
      if (isKey(key) && isLater(cursor, this.#pending.get(key))) this.#pending.set(key, cursor);
    if (this.#isConnected) this.#sendPending();
    else if (this.#pending.size > (this.#options.maxPending ?? maxPending)) this.#dropPending();
  }

  /** Asks the others for a cursor. Settles once it is known here as well as there, with whether all others have answered; undefined
   *  when nobody can be asked. */
  find(key: CursorKey): Promise<boolean> | undefined {
    if (!this.#isConnected || this.#isClosed) return undefined;
    return this.#greeting === undefined ? this.#finder.find(key) : this.#findWhenGreeted(key);
  }

  async #findWhenGreeted(key: CursorKey): Promise<boolean> {
    await this.#greeting;
    return await this.#finder.find(key);
  }

  /** Whether a cursor that was asked for and is not known here is known nowhere: all have answered, or all that others ever told is here,
   *  and NATS is there to hear more from. */
  async isNowhere(areAllAnswered: boolean): Promise<boolean> {
    if (areAllAnswered) return true;
    return this.isCurrent && (await this.#reachesNats()) && this.isCurrent;
  }

  /** A connection may be cut and not know it yet. */
  async #reachesNats(): Promise<boolean> {
    const { connection } = this.#options;
    const reached = connection.flush().then(
      () => true,
      () => false,
    );
    const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), findMs).unref());
    return await Promise.race([reached, late]);
  }

  /** Says goodbye and hears no more. The connection stays. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    const { connection } = this.#options;
    if (this.#isConnected) this.#send({ kind: "bye" });
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#finder.giveUp();
    await this.#resync.close();
    if (connection.isClosed()) return;
    for (const heard of this.#subscriptions) heard.unsubscribe();
    // What was told last is to be out before the connection is closed, if NATS is there to take it.
    const leaving = connection.flush().catch(() => {});
    await Promise.race([leaving, new Promise((resolve) => setTimeout(resolve, leaveMs).unref())]);
  }

  get #standingMs(): number {
    return this.#options.standingMs ?? standingMs;
  }

  /** What a message may take; half of it is left to what is around the cursors. */
  get #maxBytes(): number {
    return Math.min(maxMessageBytes, (this.#options.connection.info?.max_payload ?? 1_048_576) / 2);
  }

  async #watch(): Promise<void> {
    for await (const { type } of this.#options.connection.status()) {
      if (this.#isClosed) return;
      if (type === Events.Disconnect) this.#disconnected();
      else if (type === Events.Reconnect) this.#connected();
    }
  }

  #disconnected(): void {
    this.#isConnected = false;
    this.#peers.clear();
    this.#finder.giveUp();
  }

  #connected(): void {
    this.#isConnected = true;
    this.#sendPending();
    this.#greet();
  }

  /** Asks who is there and what they have. */
  #greet(): void {
    this.#send({ kind: "hello" });
    const greeting = new Promise<void>((resolve) => setTimeout(resolve, helloMs).unref()).then(() => {
      if (this.#greeting === greeting) this.#greeting = undefined;
    });
    this.#greeting = greeting;
  }

  /** Says what is had here, and looks after what the others said. */
  #stand(): void {
    const now = performance.now();
    this.#peers.forget(now - missedStandings * this.#standingMs);
    this.#versions.forget(now - rememberedMs);
    if (!this.#isConnected) return;
    this.#send(this.#standing());
    this.#resync.check();
  }

  #standing(): GossipBody & { kind: "standing" } {
    const have = this.#versions.had(performance.now() - toldOfMs);
    have[this.run] = this.#number;
    return { kind: "standing", have };
  }

  #sendPending(): void {
    const pending = this.#pending;
    this.#pending = new Map();
    const cursors = pending.entries();
    for (let rows = this.#some(cursors); rows.length > 0; rows = this.#some(cursors))
      this.#send({ kind: "update", number: ++this.#number, cursors: rows });
  }

  /** As if it had been sent and got lost: the others will notice, and ask. */
  #dropPending(): void {
    this.#pending = new Map();
    this.#number++;
  }

  /** The next ones, as many as one message takes. */
  #some(cursors: Iterator<[CursorKey, Cursor]>): CursorRow[] {
    const rows: CursorRow[] = [];
    let room = this.#maxBytes - maxKeyBytes;
    while (rows.length < maxRows && room > 0) {
      const next = cursors.next();
      if (next.done === true) break;
      if (!isKey(next.value[0])) continue; // of an older version, which let clients name one that no other node can keep
      rows.push(rowOf(next.value));
      room -= bytesOfRow(next.value[0]);
    }
    return rows;
  }

  #send(body: GossipBody, to?: Run): void {
    if (this.#isClosed) return;
    const { connection, subject } = this.#options;
    try {
      connection.publish(to === undefined ? subject : `${subject}.${to}`, this.#encode(body));
    } catch (error) {
      this.#complain("cursors could not be told of", error);
    }
  }

  #encode(body: GossipBody): Uint8Array {
    const { node, epoch } = this.#options;
    return encodeGossip({ epoch: epoch(), run: this.run, node, ...body });
  }

  #receive(msg: Msg): void {
    if (this.#isClosed) return;
    try {
      const message = decodeGossip(msg.data);
      if (message.run === this.run) return;
      this.#refuseOtherEpoch(message);
      this.#take(message, msg);
    } catch (error) {
      this.#complain("a message about cursors is passed over", error);
    }
  }

  #refuseOtherEpoch({ epoch, node }: GossipMessage): void {
    const ours = this.#options.epoch();
    if (epoch !== ours) throw new Error(`node ${node} is of the epoch ${epoch}, this one of ${ours}`);
  }

  #take(message: GossipMessage, msg: Msg): void {
    const { run, node } = message;
    const now = performance.now();
    if (message.kind === "bye") {
      this.#peers.gone(run);
      this.#finder.gone(run);
      return;
    }
    this.#peers.heard(run, node, now);
    this.#versions.alive(run, now);
    switch (message.kind) {
      case "update":
        if (this.#merge(message.cursors)) this.#versions.update(run, message.number, now);
        break;
      case "standing":
        this.#versions.keep(message.have, now);
        this.#peers.stands(run, message.have);
        this.#resync.check();
        break;
      case "hello":
        this.#send(this.#standing(), run);
        break;
      case "find":
        this.#send({ kind: "found", ticket: message.ticket, cursors: this.#known(message.keys) }, run);
        break;
      case "found":
        this.#merge(message.cursors);
        this.#finder.answered(message.ticket, run);
        break;
      case "page":
        void this.#answerPage(message.after, msg);
    }
  }

  /** False when not all could be taken. */
  #merge(rows: CursorRow[]): boolean {
    const { cursors } = this.#options;
    for (const [key, offset, generation] of rows)
      if (!cursors.merge(key, { offset, generation })) return false;
    return true;
  }

  #known(keys: CursorKey[]): CursorRow[] {
    const rows: CursorRow[] = [];
    for (const key of keys) {
      const cursor = this.#options.cursors.get(key);
      if (cursor !== undefined) rows.push(rowOf([key, cursor]));
    }
    return rows;
  }

  async #askPage(run: Run, after: CursorKey | null): Promise<GossipMessage & { kind: "rows" }> {
    const { connection, subject } = this.#options;
    const asked = this.#encode({ kind: "page", after });
    const { data } = await connection
      .request(`${subject}.${run}`, asked, { timeout: pageMs })
      .catch((error: unknown) => {
        this.#peers.silent(run);
        throw error;
      });
    const message = decodeGossip(data);
    this.#refuseOtherEpoch(message);
    if (message.kind !== "rows") throw new Error("it could not be answered there");
    return message;
  }

  async #answerPage(after: CursorKey | null, msg: Msg): Promise<void> {
    try {
      msg.respond(this.#encode(await this.#page(after)));
    } catch (error) {
      this.#complain("cursors that a node asked for could not be read", error);
      if (!this.#options.connection.isClosed()) msg.respond(this.#encode({ kind: "refused" }));
    }
  }

  async #page(after: CursorKey | null): Promise<GossipBody> {
    const { cursors } = this.#options;
    // What is said to be had must be on disk before the first page is read: pages are read there.
    const have = after === null ? this.#standing().have : null;
    if (after === null) await cursors.flush();
    const following = cursors.after(after ?? undefined)[Symbol.iterator]();
    const rows = this.#some(following);
    following.return?.();
    return { kind: "rows", cursors: rows, next: rows.at(-1)?.[0] ?? null, have };
  }

  #complain(what: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (!this.#complaints.isDue(`${what}: ${reason}`)) return;
    this.#options.logger.warn({ reason }, what);
  }
}
