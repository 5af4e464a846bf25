/* Engine: what a Client stands on; users see the Client alone.
 *
 * Ties the parts together: Connection has the session, Requests what is unanswered, Subscriptions the open streams.
 * When a session stands, streams are asked for again first, each from where it was, then the unanswered requests,
 * under their old ids. Every operation can be repeated: a post carries a key. A request that this node alone may be
 * unable to answer counts as unanswered, where there is another node to ask. */

import { WhalesongError } from "../../protocol/errors.ts";
import type { FieldsOf, Op, ResultOf, StreamEvent } from "../../protocol/schemas.ts";
import {
  Connection,
  type ConnectionOwner,
  errorOfFrame,
  type Hello,
  type IncomingFrame,
} from "./connection.ts";
import { ConnectionError } from "./errors.ts";
import type { ClientEvents } from "./events.ts";
import { Listeners } from "./listeners.ts";
import type { Settings, StreamOptions } from "./options.ts";
import type { Platform } from "./platform.ts";
import { encodeRequest, Requests } from "./requests.ts";
import { Stream } from "./stream.ts";
import { type Answered, Subscriptions, type SubscriptionSession } from "./subscriptions.ts";
import { type TokenLife, TokenRenewal } from "./tokens.ts";

export class Engine implements ConnectionOwner {
  readonly events: Listeners<ClientEvents>;
  readonly connection: Connection;
  readonly #settings: Settings;
  readonly #requests: Requests;
  readonly #subscriptions: Subscriptions;
  readonly #renewal: TokenRenewal;
  readonly #keyPrefix: string;
  #keys = 0;
  #starting: { resolve: () => void; reject: (reason: unknown) => void } | undefined;
  /** Set once, when there will be no more sessions: what every later request is refused with. */
  #ended: Error | undefined;
  #closing: Promise<void> | undefined;

  constructor(platform: Platform, settings: Settings) {
    this.#settings = settings;
    this.events = new Listeners((error) => platform.report(error));
    this.connection = new Connection(platform, settings, this, this.events);
    this.#requests = new Requests(platform, settings);
    this.#subscriptions = new Subscriptions(platform, settings.random);
    this.#keyPrefix = platform.uniqueId();
    this.#renewal = new TokenRenewal({
      platform,
      renew: () => this.#renewToken(),
      askTime: () => this.request("ping", {}),
      onError: (error) => this.events.emit("error", error),
    });
  }

  get hello(): Hello {
    // A Client is handed out after the first hello.
    return this.connection.hello as Hello;
  }

  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#starting = { resolve, reject };
      this.connection.start();
    });
  }

  request<Name extends Op>(op: Name, fields: FieldsOf<Name>): Promise<ResultOf<Name>> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(this.#ended);
        return;
      }
      const keyed = op === "post" && (fields as { key?: string }).key === undefined;
      this.#requests.add({
        op,
        fields: keyed ? { ...fields, key: this.#nextKey() } : fields,
        resend: true,
        resolve: resolve as (ok: unknown) => void,
        reject,
      });
      this.#subscriptions.requestAdded();
    });
  }

  /** The time first: the broker keeps keys in their order, so those of one moment lie together, whoever makes them. */
  #nextKey(): string {
    return `${Date.now().toString(36)}-${this.#keyPrefix}-${++this.#keys}`;
  }

  async auth(token: string): Promise<ResultOf<"auth">> {
    const renewed = await this.request("auth", { token });
    this.connection.setToken(token);
    if (this.#settings.getToken !== undefined) this.#renewal.watch(renewed);
    return renewed;
  }

  stream(name: string, options: StreamOptions): Stream {
    const { from, filter, as } = options;
    const subscription = this.#subscriptions.open({
      stream: name,
      ...(from !== undefined && { from }),
      ...(filter !== undefined && { filter }),
      ...(as !== undefined && { as }),
    });
    if (this.#ended !== undefined) this.#subscriptions.endAll(this.#ended);
    return new Stream(subscription, { autoAck: options.ack !== "manual", signal: options.signal });
  }

  close(reason?: unknown): Promise<void> {
    if (this.#closing === undefined) {
      this.#subscriptions.endAll();
      const cause = reason === undefined ? {} : { cause: reason };
      this.#ended ??= new ConnectionError("closed", "the client is closed", cause);
      // Whoever waits in connect() gets the signal's own reason.
      this.#starting?.reject(reason ?? this.#ended);
      this.#starting = undefined;
      this.#closing = this.connection.close();
    }
    return this.#closing;
  }

  sessionReady(hello: Hello): void {
    const send = (frame: string | Uint8Array): void => this.connection.send(frame);
    this.#requests.sessionReady(send, hello.limits);
    this.#subscriptions.sessionReady(this.#session(send));
    this.#requests.sendWaiting();
    if (this.#settings.getToken !== undefined) this.#renewal.watch(hello);
    const starting = this.#starting;
    this.#starting = undefined;
    if (starting === undefined) this.events.emit("connect", hello);
    else starting.resolve();
  }

  frame(frame: IncomingFrame, bytes: number): void {
    if (
      typeof frame.sub === "number" &&
      typeof frame.event === "string" &&
      typeof frame.cursor === "string"
    ) {
      const { sub, ...event } = frame;
      this.#subscriptions.event(sub, event as StreamEvent, bytes);
    } else if (typeof frame.sub === "number" && frame.event === "end") {
      this.#subscriptions.ended(
        frame.sub,
        errorOfFrame(frame) ?? new WhalesongError("internal", "the broker ended the stream"),
      );
    } else if (typeof frame.id === "number") {
      const error = errorOfFrame(frame);
      const mayMendElsewhere = error !== undefined && isOfNode(error) && this.#requests.isSent(frame.id);
      if (mayMendElsewhere && this.connection.moveOn(error)) return;
      this.#requests.answer(frame.id, frame.ok, error);
    } else {
      const error = errorOfFrame(frame);
      if (error !== undefined) this.events.emit("error", error);
    }
  }

  sessionLost(): void {
    this.#renewal.stop();
    this.#subscriptions.sessionLost();
    this.#requests.sessionLost();
  }

  finished(error: Error | undefined): void {
    this.#ended ??= error ?? new ConnectionError("closed", "the client is closed");
    this.#renewal.stop();
    this.#subscriptions.endAll(error);
    this.#requests.rejectAll(this.#ended);
    this.#starting?.reject(this.#ended);
    this.#starting = undefined;
    this.events.emit("close", error === undefined ? {} : { error });
  }

  async #renewToken(): Promise<TokenLife> {
    const { getToken } = this.#settings;
    if (getToken === undefined) return {};
    const token = await getToken();
    return this.auth(token);
  }

  #session(send: (frame: string | Uint8Array) => void): SubscriptionSession {
    const { connection } = this;
    const requests = this.#requests;
    const { codec } = this.#settings;
    const ask = (op: Op, fields: object, answered: Answered<never>): void =>
      requests.add({
        op,
        fields,
        resend: false,
        resolve: (ok) => answered(ok as never, undefined),
        reject: (error) => answered(undefined, error),
      });
    return {
      subscribe: (fields, answered) => ask("subscribe", fields, answered),
      unsubscribe: (sub, answered) => ask("unsubscribe", { sub }, answered),
      ack: (sub, cursor) => send(encodeRequest(codec, undefined, "ack", { sub, cursor })),
      get waitingRequests() {
        return requests.size;
      },
      get canPause() {
        return connection.canPause;
      },
      pause: () => connection.pause(),
      resume: () => connection.resume(),
      drop: (reason) => connection.drop(reason),
    };
  }
}

/** Whether `error` says something of the node rather than of the request: another may well do it. A node that lags does
 *  not know a cursor yet which the one before it gave. */
function isOfNode({ code }: WhalesongError): boolean {
  return code === "unavailable" || code === "storage_full" || code === "cursor_in_future";
}
