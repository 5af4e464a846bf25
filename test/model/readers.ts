/* Readers: devices that come and go, and what each must have been sent, by the model.
 *
 * A device keeps its name and its streams over connections and restarts; the broker keeps its cursors. */

import { WhalesongError } from "../../protocol/index.ts";
import { type Inbox, type Message, type SessionClient, offsetOf } from "../sessions/session-client.ts";
import type { BrokerUnderTest } from "../workers/broker-under-test.ts";
import type { Model, Name, Stream } from "./model.ts";
import type { Random } from "./random.ts";
import type { Shown } from "./shown.ts";

export interface Named {
  stream: Stream;
  /** As a client writes it. A conversation goes by any of its posts, and is one stream with one cursor nevertheless. */
  name: string;
}

/** What the durable cursor may be: the last that was answered for, or one sent since without waiting for an answer. */
interface DurableCursor {
  certain: number | undefined;
  sent: Set<number>;
}

interface Reading extends Named {
  inbox: Inbox;
  /** Events compared so far. */
  checked: number;
  /** All of the stream up to here was compared. */
  position: number;
}

export interface DeviceWorld {
  readonly broker: BrokerUnderTest;
  readonly model: Model;
  readonly random: Random;
  readonly shown: Shown;
  /** The greatest offset that an answer has named so far. */
  readonly known: number;
  pickStream(reader: Name, random: Random): Named;
}

export class Device {
  readonly user: Name;
  readonly name: string;
  readonly #world: DeviceWorld;
  readonly #cursors = new Map<string, DurableCursor>();
  #client: SessionClient | undefined;
  #readings: Reading[] = [];
  /** Started and not settled. */
  #work: Promise<unknown>[] = [];
  /** Starting points told by the broker that must not lie beyond the head: compared once that is known. */
  #starts: number[] = [];

  constructor(world: DeviceWorld, user: Name, name: string) {
    this.#world = world;
    this.user = user;
    this.name = name;
  }

  get isConnected(): boolean {
    return this.#client !== undefined;
  }

  /** Connects and reads some streams, from wherever. */
  connect(): void {
    const { broker } = this.#world;
    const random = this.#world.random.fork();
    this.#work.push(
      (async () => {
        const codec = random.chance(0.5) ? "json" : "msgpack";
        this.#client = await broker.connect(this.user, { codec, device: this.name });
        const count = 1 + random.below(3);
        for (let i = 0; i < count; i++) {
          await this.#subscribe(this.#client, this.#world.pickStream(this.user, random), random);
        }
      })(),
    );
  }

  /** Vanishes without a word. What had come by then is compared. */
  async disconnect(): Promise<void> {
    await this.settle();
    this.#client?.terminate();
    await this.#client?.closed;
    this.gone();
  }

  /** The connection has ended. */
  gone(): void {
    this.#client = undefined;
    this.#left.push(...this.#readings);
    this.#readings = [];
  }

  #left: Reading[] = [];

  /** Acknowledges something received, with or without waiting for the answer. */
  acknowledge(): void {
    const random = this.#world.random.fork();
    const reading = this.#readings[random.below(this.#readings.length + 1)];
    const client = this.#client;
    if (reading === undefined || client === undefined || reading.inbox.events.length === 0) return;
    const { cursor } = random.pick(reading.inbox.events);
    const durable = this.#cursor(reading);
    const offset = offsetOf(cursor);
    durable.sent.add(offset);
    const fields = { sub: reading.inbox.sub, cursor };
    if (random.chance(0.5)) client.send({ op: "ack", ...fields });
    else this.#work.push(this.#acknowledged(client.request("ack", fields), durable, offset));
  }

  async #acknowledged(answer: Promise<unknown>, durable: DurableCursor, offset: number): Promise<void> {
    await answer;
    durable.certain = Math.max(durable.certain ?? 0, offset);
  }

  unsubscribe(): void {
    const reading = this.#readings.pop();
    if (reading === undefined || this.#client === undefined) return;
    this.#left.push(reading);
    this.#work.push(this.#client.unsubscribe(reading.inbox));
  }

  /** Moves a durable cursor while nothing is under way. */
  async seek(client: SessionClient): Promise<void> {
    const { random, broker, model } = this.#world;
    const [name, durable] = random.pick([...this.#cursors]);
    if (name.startsWith(threadKey)) return; // its posts may be gone
    const set = random.pick(["live", "earliest", broker.positions.cursor(model.head)]);
    const { cursor } = await client.request("cursor", { stream: name, device: this.name, set });
    durable.certain = offsetOf(cursor);
    durable.sent.clear();
    if (set === "earliest") is(durable.certain, model.floor, "earliest is the floor");
    else atLeast(durable.certain, model.head, "live is the head");
  }

  get hasCursors(): boolean {
    return this.#cursors.size > 0;
  }

  /** Waits for what was started. */
  async settle(): Promise<void> {
    while (this.#work.length > 0) await Promise.all(this.#work.splice(0));
  }

  /** A round trip: what the broker had written before is here. */
  async ping(): Promise<void> {
    await this.#client?.request("ping");
  }

  /** Whether every stream was told all up to the head. */
  get isAtHead(): boolean {
    return this.#readings.every(({ inbox: { events } }) => {
      const last = events.at(-1);
      return last !== undefined && offsetOf(last["cursor"]) >= this.#world.model.head;
    });
  }

  /** Compares what has come since the last time with what the model says. Returns how many events that were. */
  check(): number {
    const { model, broker } = this.#world;
    const head = Math.max(model.head, broker.head);
    for (const start of this.#starts.splice(0)) atLeast(head, start, "no stream starts beyond the head");
    let events = 0;
    for (const reading of this.#left.splice(0)) events += this.#checkReading(reading);
    for (const reading of this.#readings) events += this.#checkReading(reading);
    return events;
  }

  #checkReading(reading: Reading): number {
    const { model, shown } = this.#world;
    const { inbox, stream } = reading;
    const events = inbox.events.slice(reading.checked);
    const after = reading.position;
    const got = new Map<number, Message>();
    for (const event of events) {
      const offset = offsetOf(event["cursor"]);
      const isMark = event["event"] === "cursor" || event["event"] === "live";
      atLeast(offset, isMark ? reading.position : reading.position + 1, `${this.#title(reading)}: order`);
      if (!isMark) got.set(offset, event);
      reading.position = offset;
    }
    reading.checked = inbox.events.length;
    const expected = model.pushed(stream, after, reading.position);
    for (const { entry, isCertain } of expected) {
      const event = got.get(entry.offset);
      if (event === undefined && !isCertain) continue;
      shown.compare(event, entry, stream, this.#title(reading));
      got.delete(entry.offset);
    }
    for (const event of got.values()) {
      throw new Error(`${this.#title(reading)}: not expected: ${JSON.stringify(event)}`);
    }
    return events.length;
  }

  async #subscribe(client: SessionClient, named: Named, random: Random): Promise<void> {
    const { broker, model } = this.#world;
    if (this.#readings.some((reading) => keyOf(reading) === keyOf(named))) return;
    const choice = random.below(10);
    const kept = model.entries.filter(({ offset }) => offset >= model.floor).map(({ offset }) => offset);
    const from =
      choice < 6
        ? "resume"
        : choice < 7
          ? "live"
          : choice < 8
            ? "earliest"
            : broker.positions.cursor(kept.length > 0 ? random.pick(kept) : model.floor);
    const known = this.#world.known;
    const fields = { from, ...filterOf(named.stream) };
    let inbox: Inbox;
    try {
      inbox = await client.subscribe(named.name, fields);
    } catch (error) {
      this.#checkRefusal(error, from, named);
      return;
    }
    const start = offsetOf(inbox.start);
    this.#starts.push(start);
    this.#checkStart({ from, start, known, named });
    this.#readings.push({ ...named, inbox, checked: 0, position: start });
  }

  #checkStart({
    from,
    start,
    known,
    named,
  }: {
    from: string;
    start: number;
    known: number;
    named: Named;
  }): void {
    const { model } = this.#world;
    const title = `${this.user}/${this.name} ${named.name} from ${from}`;
    if (from === "live") atLeast(start, known, title);
    else if (from === "earliest") is(start, model.floor, title);
    else if (from !== "resume") is(start, offsetOf(from), title);
    else {
      const durable = this.#cursor(named);
      if (durable.certain === undefined && durable.sent.size === 0) atLeast(start, known, title);
      else if (durable.certain === undefined) {
        if (!durable.sent.has(start)) atLeast(start, known, title);
      } else if (start !== durable.certain) {
        atLeast(start, durable.certain, title);
        is(durable.sent.has(start), true, `${title} resumes at something acknowledged`);
      }
      durable.certain = start;
    }
  }

  #checkRefusal(error: unknown, from: string, named: Named): void {
    const { model, broker } = this.#world;
    const durable = this.#cursor(named);
    const title = `${this.user}/${this.name} ${named.name} from ${from}: ${String(error)}`;
    if (!(error instanceof WhalesongError)) throw error;
    is(error.code, "cursor_too_old", title);
    is(from, "resume", title);
    is(error.details.floor, broker.positions.cursor(model.floor), title);
    is(
      [durable.certain ?? Infinity, ...durable.sent].some((offset) => offset < model.floor),
      true,
      title,
    );
  }

  #cursor(named: Named): DurableCursor {
    const key = keyOf(named);
    let cursor = this.#cursors.get(key);
    if (cursor === undefined) {
      cursor = { certain: undefined, sent: new Set() };
      this.#cursors.set(key, cursor);
    }
    return cursor;
  }

  #title({ name, stream }: Reading): string {
    return `${this.user}/${this.name} ${name} ${JSON.stringify(filterOf(stream))}`;
  }
}

const threadKey = "thread of ";

/** What a device's cursor is kept by: the stream's name, but for a conversation, which has a name for each of its posts. */
function keyOf({ stream, name }: Named): string {
  return stream.kind === "thread" ? `${threadKey}${stream.root}` : name;
}

export function filterOf(stream: Stream): { filter?: object } {
  if (stream.kind === "home" && stream.replies !== undefined) return { filter: { replies: stream.replies } };
  if (stream.kind === "mentions" && stream.from !== undefined) return { filter: { from: stream.from } };
  return {};
}

function is(actual: unknown, expected: unknown, title: string): void {
  if (actual !== expected) throw new Error(`${title}: ${String(actual)}, expected ${String(expected)}`);
}

function atLeast(actual: number, least: number, title: string): void {
  if (actual < least) throw new Error(`${title}: ${actual}, expected ${least} or more`);
}
