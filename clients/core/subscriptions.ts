/* Subscriptions: all open streams of a client; their numbers, their acknowledgements, and the flow of events.
 *
 * Numbers count from 1 and the lowest free one is taken, so that sessions with like habits share encoded frames. A
 * number given back is free again when the broker has answered `unsubscribe`: no event of the old subscription can
 * come after that. Only then is the same stream asked for again: a session may have it open once.
 *
 * Flow. A loop slower than its stream must cost neither memory nor the other users of the connection:
 *
 *   reading --a buffer is full--> paused --drained / somebody waits for an answer or an event--> reading
 *                                    '--pauseMs--> reading, the full ones parked
 *   a buffer at its maximum is parked: unsubscribed, then subscribed again from its position when drained
 *
 * Pausing lets TCP hold the broker back and wastes nothing, but it stops answers too: a loop whose body awaits
 * `me.post` would wait for ever. So the socket is never paused while a request or another stream waits. Where the
 * platform cannot pause (browsers) parking is all there is. */

import { WhalesongError } from "../../protocol/errors.ts";
import type { FieldsOf, ResultOf, StreamEvent } from "../../protocol/schemas.ts";
import { backoffMs, type BackoffOptions } from "./backoff.ts";
import { ConnectionError } from "./errors.ts";
import { clientLimits } from "./limits.ts";
import type { Platform } from "./platform.ts";
import { type StreamRequest, Subscription, type SubscriptionOwner } from "./subscription.ts";

/** The present session, as subscriptions use it; absent while there is none. */
export interface SubscriptionSession {
  subscribe(fields: FieldsOf<"subscribe">, answered: Answered<ResultOf<"subscribe">>): void;
  unsubscribe(sub: number, answered: Answered<unknown>): void;
  /** Sent without an id: it is not answered. */
  ack(sub: number, cursor: string): void;
  /** Requests that wait for their answers. */
  readonly waitingRequests: number;
  readonly canPause: boolean;
  pause(): void;
  resume(): void;
  /** The session is of no use any more: connect anew. */
  drop(reason: string): void;
}
export type Answered<Result> = (result: Result | undefined, error: Error | undefined) => void;

const retryBackoff: BackoffOptions = { initialMs: 200, maxMs: 10_000 };

export class Subscriptions implements SubscriptionOwner {
  readonly #platform: Platform;
  readonly #random: () => number;
  readonly #all = new Set<Subscription>();
  /** Subscription by number, */
  readonly #numbers = new Map<number, Subscription>();
  /** and what a number stood for that was given back, until the broker has answered `unsubscribe`. */
  readonly #retired = new Map<number, string>();
  readonly #unacked = new Set<Subscription>();
  #cancelAckTimer: (() => void) | undefined;
  #session: SubscriptionSession | undefined;
  #paused = false;
  #cancelPauseTimer: (() => void) | undefined;

  constructor(platform: Platform, random: () => number) {
    this.#platform = platform;
    this.#random = random;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  /** A stream that is open already fails with `conflict`, as it would at the broker. */
  open(request: StreamRequest): Subscription {
    const subscription = new Subscription(request, this);
    for (const other of this.#all) {
      if (other.what !== subscription.what) continue;
      subscription.fail(
        new WhalesongError(
          "conflict",
          `stream: ${request.stream} is being read by another loop of this client; read it once, or connect once more`,
          { field: "stream" },
        ),
      );
      return subscription;
    }
    this.#all.add(subscription);
    if (this.#session !== undefined) this.#ask(subscription, this.#session);
    return subscription;
  }

  /** A session stands: every stream is asked for again. */
  sessionReady(session: SubscriptionSession): void {
    this.#session = session;
    for (const subscription of this.#all) {
      if (subscription.isFull && subscription.position !== undefined) subscription.state = "parked";
      else this.#ask(subscription, session);
    }
  }

  sessionLost(): void {
    this.#session = undefined;
    this.#numbers.clear();
    this.#retired.clear();
    this.#unpause();
    for (const subscription of this.#all) {
      subscription.state = "waiting";
      subscription.sub = undefined;
      subscription.ackedCursor = undefined;
    }
  }

  /** An event of subscription number `sub`; what belongs to none is of one given up, and dropped. */
  event(sub: number, event: StreamEvent, bytes: number): void {
    const subscription = this.#numbers.get(sub);
    if (subscription === undefined) return;
    switch (event.event) {
      case "post":
      case "repost":
      case "delete":
      case "live":
      case "cursor":
        subscription.push(event, bytes);
        break;
      default:
        subscription.pass((event as { cursor: string }).cursor);
    }
    if (subscription.isOverfull) this.#park(subscription);
    else if (subscription.isFull) this.#pause();
  }

  /** The broker has ended subscription number `sub` by itself. */
  ended(sub: number, error: WhalesongError): void {
    const subscription = this.#numbers.get(sub);
    if (subscription === undefined || this.#session === undefined) return;
    this.#numbers.delete(sub);
    subscription.sub = undefined;
    this.#refused(subscription, this.#session, error);
  }

  /** A request waits for its answer: the socket must be read. */
  requestAdded(): void {
    this.#unpause();
  }

  hungry(): void {
    this.#unpause();
  }

  taken(subscription: Subscription): void {
    if (!subscription.isDrained) return;
    if (subscription.state === "parked" && this.#session !== undefined)
      this.#ask(subscription, this.#session);
    this.#goOnReading();
  }

  finished(subscription: Subscription): void {
    this.#unacked.add(subscription);
    this.#cancelAckTimer ??= this.#platform.setTimer(() => this.#sendAcks(), clientLimits.ackIntervalMs);
  }

  left(subscription: Subscription): void {
    this.#sendAck(subscription);
    this.#unacked.delete(subscription);
    this.#all.delete(subscription);
    this.#giveBack(subscription);
    this.#goOnReading();
  }

  /** Ends all streams: at once and quietly, or with `error` after what they hold. */
  endAll(error?: Error): void {
    for (const subscription of this.#all) {
      if (error === undefined) {
        subscription.end();
      } else {
        this.#all.delete(subscription);
        subscription.fail(error);
      }
    }
    this.#unacked.clear();
    this.#cancelAckTimer?.();
    this.#cancelAckTimer = undefined;
    this.#unpause();
  }

  #ask(subscription: Subscription, session: SubscriptionSession): void {
    for (const what of this.#retired.values()) {
      if (what !== subscription.what) continue;
      subscription.state = "waiting"; // until that number is free
      return;
    }
    let sub = 1;
    while (this.#numbers.has(sub) || this.#retired.has(sub)) sub++;
    this.#numbers.set(sub, subscription);
    subscription.sub = sub;
    subscription.state = "asking";
    const { from, ...request } = subscription.request;
    const start = subscription.position ?? from;
    session.subscribe({ ...request, sub, ...(start !== undefined && { from: start }) }, (result, error) => {
      if (this.#session !== session) return;
      if (subscription.sub !== sub) {
        // The loop left while the broker was being asked.
        if (result === undefined) this.#free(sub, session);
        else this.#unsubscribe(sub, session);
      } else if (result !== undefined) {
        subscription.begin(result.cursor);
        if (subscription.finishedCursor !== undefined) this.finished(subscription);
      } else {
        this.#numbers.delete(sub);
        subscription.sub = undefined;
        this.#refused(subscription, session, error as Error);
      }
    });
  }

  #refused(subscription: Subscription, session: SubscriptionSession, error: Error): void {
    if (error instanceof ConnectionError && error.code === "timeout") {
      session.drop(`no answer to subscribe ${subscription.request.stream}`);
    } else if (error instanceof WhalesongError && error.retryable) {
      subscription.state = "waiting";
      const delay = backoffMs(subscription.refusals++, retryBackoff, this.#random);
      this.#platform.setTimer(
        () => {
          if (this.#session === session && subscription.state === "waiting") this.#ask(subscription, session);
        },
        Math.max(delay, error.details.retryAfterMs ?? 0),
      );
    } else {
      this.#all.delete(subscription);
      this.#unacked.delete(subscription);
      subscription.fail(error);
    }
  }

  /** Gives the subscription's number back: the broker is told to stop, and the number is free when it has. */
  #giveBack(subscription: Subscription): void {
    const { sub, state } = subscription;
    const session = this.#session;
    subscription.sub = undefined;
    if (sub === undefined || session === undefined) return;
    this.#numbers.delete(sub);
    this.#retired.set(sub, subscription.what);
    // Answers may overtake each other, and so could an unsubscribe its subscribe: that one is waited for.
    if (state !== "asking") this.#unsubscribe(sub, session);
  }

  #unsubscribe(sub: number, session: SubscriptionSession): void {
    session.unsubscribe(sub, () => {
      if (this.#session === session) this.#free(sub, session);
    });
  }

  #free(sub: number, session: SubscriptionSession): void {
    const what = this.#retired.get(sub);
    this.#retired.delete(sub);
    for (const subscription of this.#all) {
      if (subscription.what === what && subscription.state === "waiting") this.#ask(subscription, session);
    }
  }

  #park(subscription: Subscription): void {
    this.#sendAck(subscription);
    this.#giveBack(subscription);
    subscription.state = "parked";
  }

  #pause(): void {
    const session = this.#session;
    if (this.#paused || session === undefined || !session.canPause || session.waitingRequests > 0) return;
    for (const other of this.#all) if (other.isHungry) return;
    this.#paused = true;
    session.pause();
    this.#cancelPauseTimer = this.#platform.setTimer(() => {
      for (const subscription of this.#all) {
        if (subscription.isFull && subscription.state === "open") this.#park(subscription);
      }
      this.#unpause();
    }, clientLimits.pauseMs);
  }

  #goOnReading(): void {
    if (this.#paused && ![...this.#all].some((subscription) => subscription.isFull)) this.#unpause();
  }

  #unpause(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#cancelPauseTimer?.();
    this.#cancelPauseTimer = undefined;
    this.#session?.resume();
  }

  #sendAcks(): void {
    this.#cancelAckTimer = undefined;
    for (const subscription of this.#unacked) this.#sendAck(subscription);
    this.#unacked.clear();
  }

  #sendAck(subscription: Subscription): void {
    const { sub, finishedCursor } = subscription;
    if (this.#session === undefined || sub === undefined || subscription.state !== "open") return;
    if (finishedCursor === undefined || finishedCursor === subscription.ackedCursor) return;
    subscription.ackedCursor = finishedCursor;
    this.#session.ack(sub, finishedCursor);
  }
}
