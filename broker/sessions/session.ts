/* Session: one connected client.
 *
 *   greeting ──hello──> ready ──close──> closed
 *       └───────── timeout, refusal ───────^
 *
 * Takes decoded frames, answers them through its outbox, and owns its subscriptions. Requests are begun in the order they
 * come; answers carry the request's `id` and may overtake each other. When `limits.inFlight` answers are due it stops
 * reading its connection, so that a client that outruns the log is held back and not buffered.
 *
 * A slow client costs its outbox and no more: see outbox.ts. Knows nothing of WebSockets or LMDB. */

import {
  type CloseReason,
  type FieldsOf,
  type Request,
  type RequestOf,
  type ResultOf,
  WhalesongError,
  checkHandle,
  checkRequest,
  closeCodes,
  limits,
} from "../../protocol/index.ts";
import { type CursorKey, type Offset, cursorKey } from "../state/index.ts";
import { type Frame, type Sink, Subscription } from "../streams/index.ts";
import type { Connection } from "./connection.ts";
import { defaultDevice } from "./operations.ts";
import { Outbox, outboxBytes } from "./outbox.ts";
import { type Principal, actingUser } from "./principal.ts";
import type { SessionServices } from "./sessions.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Bytes handed to a connection before it has taken what it was handed before. */
const connectionBytes = 262_144;
/** Requests refused for their rate before the connection is closed. */
const maxRefused = 1_000;

const goodbyeText = "the broker is stopping; come back as goodbye said";

interface Attachment {
  subscription: Subscription;
  cursor: CursorKey;
}

export class Session implements Sink {
  readonly id: string;
  readonly #services: SessionServices;
  readonly #connection: Connection;
  readonly #outbox = new Outbox();
  readonly #attachments = new Map<number, Attachment>();
  #state: "greeting" | "ready" | "closed" = "greeting";
  #principal: Principal | undefined;
  #greeting: Promise<unknown> | undefined;
  #device = defaultDevice;
  #isMarked = false;
  #inFlight = 0;
  #isReading = true;
  #isLeaving = false;
  #badFrames = 0;
  #refused = 0;
  #bucket: TokenBucket | undefined;
  #expiry: NodeJS.Timeout | undefined;
  /** When the connection last took something, or had nothing to take. */
  #progressAt: number;
  #bufferedBefore = 0;

  constructor(id: string, connection: Connection, services: SessionServices) {
    this.id = id;
    this.#connection = connection;
    this.#services = services;
    this.#progressAt = services.now();
    connection.onDrain(() => this.#drained());
  }

  get encoder(): Connection["encoder"] {
    return this.#connection.encoder;
  }

  get hasRoom(): boolean {
    return this.#outbox.bytes + this.#connection.bufferedBytes < connectionBytes;
  }

  get isGreeting(): boolean {
    return this.#state === "greeting";
  }

  /** The user it belongs to, once it has said hello. */
  get user(): string | undefined {
    return this.#principal?.user;
  }

  /** Takes one decoded frame. Never throws. */
  receive(frame: unknown): void {
    if (this.#state === "closed") return;
    let request: Request;
    try {
      this.#takeToken();
      request = checkRequest(frame);
    } catch (error) {
      this.#answerError(idOf(frame), error);
      return;
    }
    this.#inFlight++;
    if (this.#inFlight >= limits.inFlight) this.#setReading(false);
    const { id } = request;
    this.#perform(request)
      .then(
        (result) => this.#answer(id, result),
        (error: unknown) => this.#answerError(id, error),
      )
      .finally(() => {
        this.#inFlight--;
        if (this.#isLeaving) {
          if (this.#inFlight === 0) this.close("draining", goodbyeText);
        } else if (!this.#isReading && this.#inFlight < limits.inFlight / 2) this.#setReading(true);
      })
      .catch((error: unknown) => this.#services.onFault(error));
  }

  /** Takes a frame that could not be decoded. */
  receiveBad(error: WhalesongError): void {
    if (this.#state === "closed") return;
    this.#answerError(null, error);
    if (++this.#badFrames >= limits.badFrames)
      this.close("bad_frames", `${limits.badFrames} frames could not be decoded`);
  }

  /** Makes the session ready for `principal`, as `hello` does. */
  greet(principal: Principal, device: string | undefined): void {
    if (this.#state === "closed") return;
    this.#state = "ready";
    if (device !== undefined) this.#device = device;
    this.#setPrincipal(principal);
  }

  /** Makes the session ready once its credentials are accepted; what is sent meanwhile waits. Refused ones close it. */
  async greetWith(authenticating: Promise<Principal>, device: string | undefined): Promise<void> {
    this.#greeting = authenticating.catch(() => {}).finally(() => (this.#greeting = undefined));
    try {
      this.greet(await authenticating, device);
    } catch (error) {
      this.#answerError(null, error);
      this.close("unauthenticated", (error as Error).message);
    }
  }

  /** Opens a subscription; its first events come after the answer. @throws WhalesongError */
  async subscribe(fields: FieldsOf<"subscribe">): Promise<ResultOf<"subscribe">> {
    return this.#subscribe(fields);
  }

  /** Queues a frame. */
  send(frame: Frame): void {
    if (this.#state === "closed") return;
    this.#outbox.push(frame);
    if (!this.#isMarked) {
      this.#isMarked = true;
      this.#services.streams.flusher.mark(this);
    }
    if (this.#outbox.bytes > outboxBytes) this.#fallBack();
  }

  flush(): void {
    this.#isMarked = false;
    if (this.#state === "closed" || this.#outbox.isEmpty) return;
    const room = connectionBytes - this.#connection.bufferedBytes;
    if (room > 0) this.#connection.write(this.#outbox.take(room));
  }

  /** Tells the client to come back after `reconnectMs`, takes no more requests, and closes once the last is answered. */
  goodbye(reason: "draining", reconnectMs: number): void {
    if (this.#state === "closed" || this.#isLeaving) return;
    this.#isLeaving = true;
    this.#setReading(false);
    this.#sendMessage({ event: "goodbye", reason, reconnectMs });
    if (this.#inFlight === 0) this.close(reason, goodbyeText);
  }

  /** Closes the connection after what is queued. */
  close(reason: CloseReason, text: string): void {
    if (this.#state === "closed") return;
    this.#connection.write(this.#outbox.take(Number.MAX_SAFE_INTEGER));
    this.#setReading(true); // what still comes is ignored, but the peer's own close has to be read
    this.#connection.close(closeCodes[reason], text);
    this.closed();
  }

  /** The connection has ended. Lets go of everything. */
  closed(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    clearTimeout(this.#expiry);
    for (const { subscription } of this.#attachments.values()) this.#services.streams.close(subscription);
    this.#attachments.clear();
    this.#services.onClosed(this);
  }

  /** Ends one subscription by the broker's doing. */
  end(subscription: Subscription, error: WhalesongError): void {
    if (!this.#attachments.delete(subscription.number)) return;
    this.#services.streams.close(subscription);
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
    if (now - this.#progressAt > noProgressMs)
      this.close("no_progress", `nothing was read for ${noProgressMs} ms`);
  }

  async #perform(request: Request): Promise<object> {
    if (request.op === "hello") return this.#hello(request);
    if (this.#greeting !== undefined) await this.#greeting; // requests sent right behind a hello wait for it
    const principal = this.#principal;
    if (this.#state !== "ready" || principal === undefined) {
      throw new WhalesongError("hello_first", `${request.op}: say hello first`);
    }
    switch (request.op) {
      case "auth":
        return this.#auth(request, principal);
      case "ping":
        return { at: this.#services.now() };
      case "subscribe":
        return this.#subscribe(request);
      case "unsubscribe":
        return this.#unsubscribe(request);
      case "ack":
        return this.#acknowledge(request);
      default:
        return this.#services.operations.execute(request, principal, this.#device);
    }
  }

  async #hello(request: RequestOf<"hello">): Promise<ResultOf<"hello">> {
    if (
      this.#principal !== undefined &&
      this.#state === "ready" &&
      request.user === undefined &&
      request.token === undefined
    ) {
      // The connection came with its credentials; hello adds the device.
      if (request.device !== undefined) this.#device = request.device;
      if (request.as !== undefined)
        this.#setPrincipal({ ...this.#principal, user: actingUser(this.#principal, request.as) });
      return this.#welcome(this.#principal);
    }
    if (this.#attachments.size > 0)
      throw new WhalesongError("conflict", "hello: say it once, before anything else");
    const { user, token, as, device } = request;
    const authenticating = this.#services.authenticator.authenticate({ user, token });
    this.#greeting = authenticating.catch(() => {}).finally(() => (this.#greeting = undefined));
    const principal = await authenticating;
    this.greet(as === undefined ? principal : { ...principal, user: actingUser(principal, as) }, device);
    return this.#welcome(this.#principal!);
  }

  #welcome(principal: Principal): ResultOf<"hello"> {
    const { state, streams, node } = this.#services;
    const known = state.users.find(principal.user);
    const result: ResultOf<"hello"> = {
      user: known === undefined ? principal.user : state.users.handle(known),
      session: this.id,
      node,
      epoch: state.positions.epoch,
      head: state.positions.cursor(streams.head),
      limits: { ...limits },
      scopes: [...principal.scopes],
    };
    return principal.expiresAt === undefined ? result : { ...result, expiresAt: principal.expiresAt };
  }

  async #auth(request: RequestOf<"auth">, before: Principal): Promise<ResultOf<"auth">> {
    const principal = await this.#services.authenticator.authenticate({ token: request.token });
    if (checkHandle(principal.user) !== checkHandle(before.user) && !principal.scopes.has("backend")) {
      throw new WhalesongError("forbidden", "auth: the token is another user's; renewal keeps the user", {
        field: "token",
      });
    }
    this.#setPrincipal({ ...principal, user: before.user });
    const scopes = [...principal.scopes];
    return principal.expiresAt === undefined ? { scopes } : { scopes, expiresAt: principal.expiresAt };
  }

  #setPrincipal(principal: Principal): void {
    this.#principal = principal;
    clearTimeout(this.#expiry);
    if (principal.expiresAt === undefined) return;
    // Timers take 31 bits of ms; a token that lives longer is looked at again then.
    const leftMs = Math.min(principal.expiresAt - this.#services.now(), 2 ** 31 - 1);
    this.#expiry = setTimeout(() => {
      if (this.#services.now() < principal.expiresAt!) this.#setPrincipal(principal);
      else this.close("token_expired", "the token expired; come back with a new one");
    }, leftMs);
  }

  async #subscribe(fields: FieldsOf<"subscribe">): Promise<ResultOf<"subscribe">> {
    const { operations, streams, state } = this.#services;
    const number = this.#subscriptionNumber(fields);
    const as = typeof fields.as === "string" ? fields.as : undefined;
    // The number is taken before anything is waited for, so that a second subscribe cannot take it too.
    this.#reserved.add(number);
    try {
      const principal = this.#principal!;
      if (fields.stream.startsWith("user:"))
        await operations.ensureUser(fields.stream.slice("user:".length), "stream");
      const { stream, reader } = await operations.resolveStream({ ...fields, as }, principal);
      const cursor = cursorKey(reader, this.#device, stream.name);
      const position = await operations.startOf(fields.from ?? "resume", cursor);
      const subscription = new Subscription(number, stream, this, position);
      const answer = { sub: number, stream: stream.name, cursor: state.positions.cursor(position) };
      if (this.#isClosed()) return answer;
      this.#attachments.set(number, { subscription, cursor });
      streams.open(subscription); // its first step comes in a later turn, after the answer
      return answer;
    } finally {
      this.#reserved.delete(number);
    }
  }

  readonly #reserved = new Set<number>();

  #isClosed(): boolean {
    return this.#state === "closed";
  }

  #subscriptionNumber({ as, sub }: FieldsOf<"subscribe">): number {
    const isTaken = (number: number): boolean => this.#attachments.has(number) || this.#reserved.has(number);
    if (this.#attachments.size + this.#reserved.size >= limits.subscriptions) {
      throw new WhalesongError(
        "conflict",
        `subscribe: a session has ${limits.subscriptions} subscriptions at most`,
      );
    }
    const chosen = typeof as === "number" ? as : sub;
    if (chosen !== undefined) {
      if (isTaken(chosen))
        throw new WhalesongError("conflict", `sub: the subscription ${chosen} is open already`, {
          field: "sub",
        });
      return chosen;
    }
    let number = 1;
    while (isTaken(number)) number++;
    return number;
  }

  async #unsubscribe({ sub }: RequestOf<"unsubscribe">): Promise<ResultOf<"unsubscribe">> {
    const { subscription } = this.#attachment(sub);
    this.#attachments.delete(sub);
    this.#services.streams.close(subscription);
    this.#outbox.dropSubscription(sub);
    return { sub };
  }

  async #acknowledge({ sub, cursor, id }: RequestOf<"ack">): Promise<ResultOf<"ack">> {
    const { state, streams, cursors } = this.#services;
    const attachment = this.#attachment(sub);
    const offset: Offset = state.positions.parseCursor(cursor);
    if (offset > streams.head) {
      throw new WhalesongError("cursor_in_future", `cursor: ${cursor} is beyond the head`, {
        field: "cursor",
      });
    }
    cursors.acknowledge(attachment.cursor, offset);
    if (id !== undefined) await cursors.flush();
    return { cursor };
  }

  #attachment(sub: number): Attachment {
    const attachment = this.#attachments.get(sub);
    if (attachment === undefined)
      throw new WhalesongError("not_found", `sub: there is no subscription ${sub}`, { field: "sub" });
    return attachment;
  }

  #takeToken(): void {
    if (this.#principal?.scopes.has("backend") === true) return;
    const { now, connectionRate } = this.#services;
    this.#bucket ??= new TokenBucket(connectionRate, now());
    const retryAfterMs = this.#bucket.take(now());
    if (retryAfterMs === 0) return;
    if (++this.#refused >= maxRefused) this.close("flooding", `${maxRefused} requests over the rate`);
    throw new WhalesongError(
      "rate_limited",
      `over ${connectionRate.perSecond} requests a second on this connection; wait ${retryAfterMs} ms`,
      { retryAfterMs },
    );
  }

  #answer(id: number | null | undefined, ok: object): void {
    if (id !== undefined) this.#sendMessage({ id, ok });
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
  }

  #sendMessage(message: object): void {
    this.send({ bytes: this.encoder.encodeMessage(message), sub: 0, offset: 0, before: 0 });
  }

  #setReading(reading: boolean): void {
    this.#isReading = reading;
    this.#connection.setReading(reading);
  }

  /** The connection has taken what it was given: goes on with the outbox, then with catch-up. */
  #drained(): void {
    this.#progressAt = this.#services.now();
    this.flush();
    if (!this.hasRoom) return;
    for (const { subscription } of this.#attachments.values()) {
      if (subscription.state === "catching up") this.#services.streams.resume(subscription);
    }
  }

  #fallBack(): void {
    for (const [sub, position] of this.#outbox.dropEvents()) {
      const subscription = this.#attachments.get(sub)?.subscription;
      if (subscription === undefined) continue;
      subscription.fallBack(position);
      // Catch-up waits for room by itself. No drain may come to wake it: a burst can fill the outbox of an idle connection.
      this.#services.streams.resume(subscription);
    }
    this.#services.onFallBack();
  }
}

/** The id of a frame that is refused, if it has one that can be answered. */
function idOf(frame: unknown): number | null {
  const id: unknown =
    typeof frame === "object" && frame !== null ? (frame as { id?: unknown }).id : undefined;
  return typeof id === "number" && Number.isSafeInteger(id) && id >= 0 ? id : null;
}
