/* Session: one connected client.
 *
 *   greeting ──credentials accepted──> ready ──goodbye──> leaving ──last answer──> closed
 *       └──────────── timeout, refusal, the connection's end ─────────────────────────^
 *
 * Takes decoded frames and answers them through its outbox. Requests are begun in the order they come; answers carry the
 * request's `id` and may overtake each other. A request is begun only while there is room for what it may come to: few
 * enough in flight, few enough pages among them, little enough answered and not yet taken. Until then it waits, those
 * behind it wait too, and the connection is not read: a client that outruns the log, or does not read what it asked for,
 * is held back and not buffered.
 *
 * A slow reader of events costs its outbox and no more: see outbox.ts. Knows nothing of WebSockets or LMDB. */

import {
  type CloseReason,
  type FieldsOf,
  type Request,
  type RequestOf,
  type ResultOf,
  WhalesongError,
  checkRequest,
  closeCodes,
  limits,
} from "../../protocol/index.ts";
import type { Frame, Mark, Sink, Subscription } from "../streams/index.ts";
import { Attachments } from "./attachments.ts";
import type { Connection } from "./connection.ts";
import { Identity } from "./identity.ts";
import type { SessionOp, StatelessOp } from "./operations.ts";
import { isRated } from "./intake.ts";
import { Outbox, outboxBytes } from "./outbox.ts";
import type { Principal } from "./principal.ts";
import type { SessionServices } from "./sessions.ts";
import { TokenBucket, weightOf } from "./token-bucket.ts";
import { TooManyConnections } from "./user-connections.ts";

/** Bytes handed to a connection before it has taken what it was handed before. */
const connectionBytes = 131_072;
/** Requests for pages in flight: each can come to a large answer. */
const maxPages = 4;
/** A message that is unfinished at so many checks in a row, one a second, has taken too long. */
const mostUnfinished = Math.ceil(limits.messageMs / 1_000);
/** Requests refused for their rate before the connection is closed. */
const maxRefused = 1_000;
/** A request that is not of its operation's shape counts against the rate as so many more. */
const malformedWeight = 4;
/** What a session answers itself; the rest needs nothing of it but who asks. */
const sessionOps: ReadonlySet<string> = new Set([
  "hello",
  "auth",
  "ping",
  "subscribe",
  "unsubscribe",
  "ack",
] satisfies SessionOp[]);
const goodbyeText = "the broker is stopping; come back as goodbye said";

export class Session implements Sink {
  readonly id: string;
  mark: Mark = 0;
  readonly #services: SessionServices;
  readonly #connection: Connection;
  readonly #outbox: Outbox;
  readonly #identity: Identity;
  readonly #attachments: Attachments;
  #state: "greeting" | "ready" | "leaving" | "closed" = "greeting";
  /** Catch-up found no room, and is to go on when there is. */
  #isRoomAwaited = false;
  /** Requests that came while there was no room for them. */
  #waiting: Request[] | undefined;
  #inFlight = 0;
  #pages = 0;
  #badFrames = 0;
  /** Requests that came before `hello`. */
  #early = 0;
  #refused = 0;
  #bucket: TokenBucket | undefined;
  /** When the connection last took something, or had nothing to take. */
  #progressAt: number;
  #bufferedBefore = 0;
  /** Checks in a row that found the same message unfinished. */
  #unfinished = 0;

  constructor(id: string, connection: Connection, services: SessionServices) {
    this.id = id;
    this.#connection = connection;
    this.#services = services;
    this.#outbox = new Outbox(connection.encoder.index);
    this.#identity = new Identity(services, this);
    this.#attachments = new Attachments(services, this, this.#identity);
    this.#progressAt = services.elapsed();
  }

  get encoder(): Connection["encoder"] {
    return this.#connection.encoder;
  }

  askForRoom(): boolean {
    this.#isRoomAwaited = !this.#hasRoom;
    return !this.#isRoomAwaited;
  }

  get #hasRoom(): boolean {
    return this.#outbox.bytes + this.#connection.bufferedBytes < connectionBytes;
  }

  /** A frame of so many bytes is about to be decoded. @throws `too_large` when a client that is not known yet may not send it */
  admit(bytes: number): void {
    if (bytes <= limits.helloFrameBytes || !this.#isUnknown) return;
    const limit = `the limit before hello is ${limits.helloFrameBytes}`;
    throw new WhalesongError("too_large", `the frame has ${bytes} bytes; ${limit}`);
  }

  /** Neither said who it is, nor came with credentials. */
  get #isUnknown(): boolean {
    return this.#state === "greeting" && this.#identity.settled === undefined;
  }

  /** Takes one decoded frame, which came as so many bytes. Never throws. */
  receive(frame: unknown, bytes = 0): void {
    this.#unfinished = 0;
    if (this.#state === "closed" || this.#state === "leaving") return;
    if (this.#isUnknown && ++this.#early > limits.helloRequests) {
      this.close("flooding", `${limits.helloRequests} requests before hello`);
      return;
    }
    let request: Request;
    try {
      this.#takeToken(weightOf(bytes));
      request = checkRequest(frame);
    } catch (error) {
      if (!(error instanceof WhalesongError) || !error.retryable) this.#bucket?.charge(malformedWeight);
      this.#answerError(idOf(frame), error);
      this.#holdBack();
      return;
    }
    if (this.#waiting === undefined && this.#mayBegin(request)) this.#begin(request);
    else this.#wait(request);
  }

  /** Takes a frame that could not be decoded. */
  receiveBad(error: WhalesongError): void {
    if (this.#state === "closed") return;
    this.#unfinished = 0;
    this.#answerError(null, error);
    this.#holdBack();
    if (++this.#badFrames < limits.badFrames) return;
    this.close("bad_frames", `${limits.badFrames} frames could not be decoded`);
  }

  /** Makes the session ready for `principal`, as `hello` does. */
  greet(principal: Principal, device: string | undefined): void {
    if (this.#state === "closed") return;
    this.#identity.accept(principal, device);
    this.#state = "ready";
  }

  /** Makes the session ready once its credentials are accepted; what is sent meanwhile waits. Refused ones close it. */
  async greetWith(authenticating: Promise<Principal>, device: string | undefined): Promise<void> {
    try {
      await this.#identity.acceptFrom(authenticating, device);
      if (this.#state === "greeting") this.#state = "ready";
    } catch (error) {
      this.#answerError(null, error);
      const mayMend = error instanceof WhalesongError && error.retryable;
      this.close(mayMend ? "unavailable" : "unauthenticated", (error as Error).message);
    }
  }

  /** Opens a subscription for a transport that asks for it itself. @throws WhalesongError */
  subscribe(fields: FieldsOf<"subscribe">): Promise<ResultOf<"subscribe">> {
    return this.#attachments.subscribe(fields);
  }

  /** Queues a frame. */
  send(frame: Frame): void {
    if (this.#state === "closed") return;
    this.#outbox.push(frame);
    this.#services.streams.flusher.mark(this);
    if (this.#outbox.eventBytes > outboxBytes) this.#fallBack();
  }

  flush(): void {
    if (this.#state === "closed") return;
    // A connection may take a write whole, there and then: in that case no drain follows, and there is room for more.
    while (!this.#outbox.isEmpty && this.#connection.bufferedBytes < connectionBytes)
      this.#connection.write(this.#outbox.take());
    if (this.#waiting !== undefined) this.#goOn();
    if (this.#isRoomAwaited && this.#hasRoom) {
      this.#isRoomAwaited = false;
      this.#attachments.resume();
    }
  }

  /** Tells the client to come back after `reconnectMs`, takes no more requests, and closes once the last is answered. */
  goodbye(reason: "draining", reconnectMs: number): void {
    if (this.#state === "closed" || this.#state === "leaving") return;
    this.#state = "leaving";
    this.#waiting = undefined; // never begun, so never answered: they are sent again elsewhere
    this.#connection.setReading(false);
    this.#sendMessage({ event: "goodbye", reason, reconnectMs });
    if (this.#inFlight === 0) this.close(reason, goodbyeText);
  }

  /** Closes the connection after what is queued. */
  close(reason: CloseReason, text: string): void {
    if (this.#state === "closed") return;
    while (!this.#outbox.isEmpty) this.#connection.write(this.#outbox.take());
    this.#connection.setReading(true); // what still comes is ignored, but the peer's own close has to be read
    this.#connection.close(closeCodes[reason], text);
    this.closed();
  }

  /** The connection has taken what it was given. */
  drained(): void {
    this.#progressAt = this.#services.elapsed();
    this.flush();
  }

  /** The credentials have expired. */
  expired(): void {
    this.close("token_expired", "the token expired; come back with a new one");
  }

  /** The connection has ended. Lets go of everything. */
  closed(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#waiting = undefined;
    this.#identity.close();
    this.#attachments.close();
    this.#services.onClosed(this);
  }

  /** Ends one subscription by the broker's doing. */
  end(subscription: Subscription, error: WhalesongError): void {
    if (!this.#attachments.end(subscription)) return;
    this.#outbox.dropSubscription(subscription.number);
    this.#sendMessage({ sub: subscription.number, event: "end", error: error.toBody() });
  }

  /** Closes a connection that takes nothing, or that never said hello. Called now and then. */
  check(now: number, openedAt: number): void {
    const { helloTimeoutMs, noProgressMs } = this.#services.timeouts;
    if (this.#state === "greeting" && now - openedAt > helloTimeoutMs) {
      this.close("hello_timeout", `no hello within ${helloTimeoutMs} ms`);
      return;
    }
    const buffered = this.#connection.bufferedBytes;
    if (buffered === 0 || buffered !== this.#bufferedBefore) this.#progressAt = now;
    this.#bufferedBefore = buffered;
    if (now - this.#progressAt > noProgressMs) {
      this.close("no_progress", `nothing was read for ${noProgressMs} ms`);
      return;
    }
    this.#unfinished = this.#connection.isMidMessage ? this.#unfinished + 1 : 0;
    if (this.#unfinished > mostUnfinished)
      this.close(
        "message_timeout",
        `a message that was begun did not come whole within ${limits.messageMs} ms`,
      );
  }

  /** Its time to make progress begins anew. */
  excuse(now: number): void {
    this.#progressAt = now;
  }

  get #isFull(): boolean {
    return this.#outbox.answerBytes >= connectionBytes;
  }

  /** What is refused before it is begun is answered too: who does not take such answers is not read either. */
  #holdBack(): void {
    if (this.#state === "closed" || this.#waiting !== undefined || !this.#isFull) return;
    this.#waiting = [];
    this.#connection.setReading(false);
  }

  #mayBegin({ op }: Request): boolean {
    if (this.#inFlight >= limits.inFlight || this.#isFull) return false;
    return this.#pages < maxPages || !isPage(op);
  }

  #wait(request: Request): void {
    this.#waiting ??= [];
    this.#waiting.push(request);
    this.#connection.setReading(false); // what was read already still comes, and waits here
  }

  /** Begins what waits, as far as there is room; reads on once nothing waits. */
  #goOn(): void {
    while (this.#waiting !== undefined) {
      const request = this.#waiting[0];
      if (request === undefined) {
        if (this.#isFull) return;
        this.#waiting = undefined;
        this.#connection.setReading(true);
        return;
      }
      if (!this.#mayBegin(request)) return;
      this.#waiting.shift();
      this.#begin(request);
    }
  }

  #begin(request: Request): void {
    const { id, op } = request;
    this.#inFlight++;
    if (isPage(op)) this.#pages++;
    this.#perform(request).then(
      (result) => {
        if (id !== undefined) this.#answer(id, result);
        this.#answered(op);
      },
      (error: unknown) => {
        this.#answerError(id, error);
        this.#answered(op);
      },
    );
  }

  /** An answer that cannot be encoded fails its request alone. */
  #answer(id: number, result: object): void {
    try {
      this.#sendMessage({ id, ok: result });
    } catch (error) {
      this.#answerError(id, error);
    }
  }

  #answered(op: Request["op"]): void {
    this.#inFlight--;
    if (isPage(op)) this.#pages--;
    if (this.#state === "leaving" && this.#inFlight === 0) this.close("draining", goodbyeText);
    else if (this.#waiting !== undefined) this.#goOn();
  }

  #perform(request: Request): Promise<object> {
    const { principal, device, settled } = this.#identity;
    // The common case without a promise between: it is most of what a busy publisher's requests cost here.
    if (settled === undefined && principal !== undefined && !sessionOps.has(request.op)) {
      return this.#services.operations.execute(request as RequestOf<StatelessOp>, principal, device);
    }
    return this.#performInTurn(request);
  }

  async #performInTurn(request: Request): Promise<object> {
    // Of two hellos the second begins once the first is settled, and what is behind both waits for both.
    while (this.#identity.settled !== undefined) await this.#identity.settled;
    if (request.op === "hello") return this.#hello(request);
    const { principal, device } = this.#identity;
    if (principal === undefined) throw new WhalesongError("hello_first", `${request.op}: say hello first`);
    switch (request.op) {
      case "auth":
        return this.#renew(request);
      case "ping":
        return { at: this.#services.now() };
      case "subscribe":
        return this.#attachments.subscribe(request);
      case "unsubscribe": {
        const result = this.#attachments.unsubscribe(request);
        this.#outbox.dropSubscription(request.sub);
        return result;
      }
      case "ack":
        return this.#attachments.acknowledge(request);
      default:
        return this.#services.operations.execute(request, principal, device);
    }
  }

  /** What the new token does not allow ends before the renewal is answered. */
  async #renew(request: RequestOf<"auth">): Promise<ResultOf<"auth">> {
    const result = await this.#identity.renew(request);
    for (const { subscription, error } of this.#attachments.forbidden) this.end(subscription, error);
    return result;
  }

  async #hello(request: RequestOf<"hello">): Promise<ResultOf<"hello">> {
    if (this.#attachments.count > 0) {
      throw new WhalesongError("conflict", "hello: it comes first, before any subscription");
    }
    const { state, streams, node, now, onHello } = this.#services;
    const principal = await this.#identity.hello(request);
    if (this.#state === "greeting") this.#state = "ready";
    onHello(this.id, principal.user, request.client);
    state.refresh();
    const known = state.users.find(principal.user);
    const result: ResultOf<"hello"> = {
      user: known === undefined ? principal.user : state.users.handle(known),
      session: this.id,
      node,
      epoch: state.positions.epoch,
      head: state.positions.cursor(streams.head),
      limits: isRated(principal) ? { ...limits, ...this.#services.rates } : { ...limits },
      scopes: [...principal.scopes],
      at: now(),
    };
    return principal.expiresAt === undefined ? result : { ...result, expiresAt: principal.expiresAt };
  }

  #takeToken(weight: number): void {
    if (this.#identity.principal?.scopes.has("backend") === true) return;
    const { elapsed, connectionRate } = this.#services;
    this.#bucket ??= new TokenBucket(connectionRate, elapsed());
    const retryAfterMs = this.#bucket.take(elapsed(), weight);
    if (retryAfterMs === 0) return;
    if (++this.#refused >= maxRefused) this.close("flooding", `${maxRefused} requests over the rate`);
    throw new WhalesongError(
      "rate_limited",
      `over ${connectionRate.perSecond} requests a second on this connection; wait ${retryAfterMs} ms`,
      { retryAfterMs },
    );
  }

  #answerError(id: number | null | undefined, error: unknown): void {
    if (!(error instanceof WhalesongError)) this.#services.onFault(error);
    const answered =
      error instanceof WhalesongError
        ? error
        : new WhalesongError("internal", "a fault of the broker; it is logged there");
    this.#services.onRefusal(answered.code);
    if (id !== undefined) this.#sendMessage({ id, error: answered.toBody() });
    // Credentials that are refused before there is a session end it: there is nothing left to say.
    if (this.#state === "greeting" && answered.code === "unauthenticated")
      this.close("unauthenticated", answered.message);
    else if (answered instanceof TooManyConnections) this.close("too_many", answered.message);
  }

  #sendMessage(message: object): void {
    this.send({ bytes: this.encoder.encodeMessage(message), sub: 0, offset: 0, before: 0 });
  }

  #fallBack(): void {
    this.#attachments.fallBack(this.#outbox.dropEvents());
    this.#services.onFallBack();
  }
}

/** Operations whose answers can be large. */
function isPage(op: Request["op"]): boolean {
  return op === "read" || op === "following" || op === "followers";
}

/** The id of a frame that is refused, if it has one that can be answered. */
function idOf(frame: unknown): number | null {
  const id: unknown =
    typeof frame === "object" && frame !== null ? (frame as { id?: unknown }).id : undefined;
  return typeof id === "number" && Number.isSafeInteger(id) && id >= 0 ? id : null;
}
