/* Streams: everything between the log and the sessions.
 *
 *   log ──entries──> tail ──> fan-out ──┐
 *                      └────> catch-up ─┴──> subscriptions ──frames──> their sessions
 *
 * Knows neither clock nor transport: the broker calls `tick` now and then. */

import {
  type Filter,
  type StreamName,
  WhalesongError,
  fold,
  formatStream,
  parseStream,
} from "../../protocol/index.ts";
import type { Entry, Offset, State, UserNo } from "../state/index.ts";
import { Awaiting } from "./awaiting.ts";
import { CatchUp, markDelivery } from "./catch-up.ts";
import { Deliveries } from "./deliveries.ts";
import { FanOut } from "./fan-out.ts";
import { Flusher } from "./flusher.ts";
import { HomeReader } from "./home.ts";
import { Interest } from "./interest.ts";
import { type Page, type PageRequest, Pages } from "./pages.ts";
import { type Read, type ReadingOptions, Readings } from "./readings.ts";
import { noFilter, type Stream } from "./stream.ts";
import type { Subscription } from "./subscription.ts";
import { Tail } from "./tail.ts";
import { Turns } from "./turns.ts";
import { type UserPage, type UserPageRequest, readUsers } from "./user-pages.ts";

/** Subscriptions told their position between two turns of the event loop. */
const tickStride = 2_000;

/** Entries that wait to be fanned out, past which the log is to take no more. */
const maxFanOutPending = 8_192;

export interface StreamsOptions {
  whenDurable: (offset: Offset, callback: () => void) => void;
  /** A subscription can go on no further: entries it needs are gone. */
  onTooOld: (subscription: Subscription) => void;
}

export class Streams {
  readonly deliveries: Deliveries;
  readonly flusher = new Flusher();
  readonly #state: State;
  readonly #interest = new Interest();
  readonly #tail: Tail;
  readonly #fanOut: FanOut;
  readonly #catchUp: CatchUp;
  readonly #pages: Pages;
  readonly #readings: Readings;
  readonly #subscriptions = new Set<Subscription>();
  readonly #awaiting: Awaiting;

  constructor(state: State, { whenDurable, onTooOld }: StreamsOptions) {
    this.#state = state;
    this.#awaiting = new Awaiting(state, this.#interest);
    this.deliveries = new Deliveries(state);
    const home = new HomeReader(state);
    const interest = this.#interest;
    const deliveries = this.deliveries;
    const head = state.applied();
    this.#tail = new Tail(state, head);
    this.#fanOut = new FanOut(
      {
        state,
        interest,
        deliveries,
        flusher: this.flusher,
        home,
        onLookback: (subscription, stream, entry) => this.#catchUp.lookBack(subscription, stream, entry),
        onForgotten: (entry) => this.#awaiting.left(entry),
      },
      head,
    );
    const turns = new Turns();
    this.#catchUp = new CatchUp({
      state,
      interest,
      deliveries,
      home,
      tail: this.#tail,
      flusher: this.flusher,
      turns,
      whenDurable,
      onTooOld,
      renew: (subscription) => this.#awaiting.renew(subscription),
    });
    this.#pages = new Pages(state, deliveries, home);
    this.#readings = new Readings(state, turns);
  }

  /** Takes durable entries from the log, in order; all up to `durable` is. */
  publish(entries: Entry[], durable: Offset): void {
    this.#awaiting.hear(entries);
    this.#tail.append(entries, durable);
    this.#fanOut.publish(entries, durable);
  }

  /** All up to here is durable and on its way to whom it concerns. */
  get head(): Offset {
    return this.#tail.end;
  }

  /** More entries wait to be fanned out than should. */
  get isBehind(): boolean {
    return this.#fanOut.pending > maxFanOutPending;
  }

  /**
   * A stream by its name, for a reader: by number, 0 for one who is no user. To subscribe to it, `awaiting` is the reader's handle: then
   * reader and author may be users only later. @throws `bad_request`, `not_found` when its user or post is not known
   */
  resolve(text: string, filter: Filter | undefined = noFilter, reader: UserNo, awaiting?: string): Stream {
    const parsed = parseStream(text);
    checkFilter(parsed, filter);
    // Literals, each whole: an object put together by spreading brings a shape of its own, larger than itself.
    const name = formatStream(parsed);
    switch (parsed.kind) {
      case "home":
      case "mentions":
        if (awaiting === undefined) return { name, filter, kind: parsed.kind, reader };
        return { name, filter, kind: parsed.kind, reader, about: fold(awaiting) };
      case "user": {
        const user = this.#state.users.find(parsed.user);
        if (awaiting !== undefined)
          return { name, filter, kind: "user", user: user ?? 0, about: fold(parsed.user) };
        if (user === undefined) {
          throw new WhalesongError("not_found", `stream: there is no user ${JSON.stringify(parsed.user)}`, {
            field: "stream",
          });
        }
        return { name, filter, kind: "user", user };
      }
      case "tag":
        return { name, filter, kind: "tag", tag: fold(parsed.tag) };
      case "thread":
        return this.#thread(parsed.post, filter);
      case "firehose":
        return { name, filter, kind: "firehose" };
    }
  }

  /** The conversation that a post is part of, under the name of its first post. */
  #thread(id: string, filter: Filter): Stream {
    const offset = this.#state.positions.parseId(id);
    const entry = offset === undefined ? undefined : this.#state.entry(offset);
    if (entry?.kind !== "post") {
      throw new WhalesongError("not_found", `stream: there is no post ${JSON.stringify(id)}`, {
        field: "stream",
      });
    }
    const root = entry.reply?.root ?? entry.offset;
    return { kind: "thread", root, name: `thread:${this.#state.positions.id(root)}`, filter };
  }

  /** Begins to deliver: catch-up from the subscription's position, then live. */
  open(subscription: Subscription): void {
    this.#subscriptions.add(subscription);
    this.#awaiting.add(subscription);
    this.#catchUp.add(subscription);
  }

  /** Goes on catching up: its session has room again. */
  resume(subscription: Subscription): void {
    this.#catchUp.add(subscription);
  }

  close(subscription: Subscription): void {
    subscription.state = "closed";
    this.#awaiting.delete(subscription);
    this.#interest.detach(subscription);
    this.#subscriptions.delete(subscription);
  }

  /** A page of a stream, read in its turns. Send it once all up to `applied` is durable. @throws what `options.check` throws */
  read(request: PageRequest, options?: ReadingOptions): Promise<Read<Page>> {
    return this.#readings.run((work) => this.#pages.read(request, work), options);
  }

  /** A page of those whom a user follows, or who follow them: as `read`. */
  readUsers(request: UserPageRequest, options?: ReadingOptions): Promise<Read<UserPage>> {
    return this.#readings.run((work) => readUsers(this.#state, request, work), options);
  }

  /** Tells quiet live subscriptions how far they are, so that their cursors keep up with the head. Called now and then. */
  async tick(): Promise<void> {
    this.#fanOut.sweep();
    const reached = this.#fanOut.reached;
    const mark = markDelivery(this.#state, "cursor", reached);
    let done = 0;
    for (const subscription of Array.from(this.#subscriptions)) {
      if (subscription.state === "live" && subscription.told < reached) {
        const isQuiet = subscription.toldBefore === subscription.told;
        subscription.toldBefore = subscription.told;
        if (isQuiet) subscription.deliver(mark);
      }
      if (++done % tickStride === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Settles when all that was published so far has been handed to the sessions. */
  settled(): Promise<void> {
    return this.#fanOut.settled();
  }

  get stats(): {
    subscriptions: number;
    catchingUp: number;
    fanOutPending: number;
    deliveredLive: number;
    deliveredCatchUp: number;
    interestBytes: number;
  } {
    return {
      subscriptions: this.#subscriptions.size,
      catchingUp: this.#catchUp.waiting,
      fanOutPending: this.#fanOut.pending,
      deliveredLive: this.#fanOut.delivered,
      deliveredCatchUp: this.#catchUp.delivered,
      interestBytes: this.#interest.bytes,
    };
  }
}

function checkFilter(name: StreamName, filter: Filter): void {
  const wrong =
    (filter.replies !== undefined && name.kind !== "home" && "replies") ||
    (filter.from !== undefined && name.kind !== "mentions" && "from");
  if (wrong !== false) {
    throw new WhalesongError("bad_request", `filter.${wrong}: does not concern the stream ${name.kind}`, {
      field: `filter.${wrong}`,
    });
  }
}
