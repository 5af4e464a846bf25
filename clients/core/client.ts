/* Client: what connect() gives. Each method is one operation of the protocol, or a stream. */

import { WhalesongError } from "../../protocol/errors.ts";
import type { Limits } from "../../protocol/limits.ts";
import type { FieldsOf, Op, Post, ResultOf } from "../../protocol/schemas.ts";
import { asyncDispose } from "./dispose.ts";
import { Engine } from "./engine.ts";
import type { ClientEvents } from "./events.ts";
import { type ActAs, type ConnectOptions, settle, type StreamOptions } from "./options.ts";
import type { Platform } from "./platform.ts";
import type { Stream } from "./stream.ts";

/** Operations that `request` takes; streams and the session have methods of their own. */
export type RequestOp = Exclude<Op, "hello" | "subscribe" | "unsubscribe" | "ack">;

export type PostOptions = Omit<FieldsOf<"post">, "text">;
export interface UsersOptions extends ActAs {
  limit?: number;
  after?: string;
}
export type ReadOptions = Omit<FieldsOf<"read">, "stream">;
export type CursorOptions = Omit<FieldsOf<"cursor">, "stream">;

const sessionOps = new Set<string>(["hello", "subscribe", "unsubscribe", "ack"]);

export class Client {
  readonly #engine: Engine;

  /** Made by `connect()`. */
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Who this client is. */
  get user(): string {
    return this.#engine.hello.user;
  }
  /** The present session's id, or the last one's. */
  get session(): string {
    return this.#engine.hello.session;
  }
  /** The name of the node that session is on. */
  get node(): string {
    return this.#engine.hello.node;
  }
  /** The URL of that node, as it was given to `connect()`. */
  get url(): string {
    return this.#engine.connection.sessionUrl;
  }
  get epoch(): string {
    return this.#engine.hello.epoch;
  }
  /** The newest cursor when the session began. */
  get head(): string {
    return this.#engine.hello.head;
  }
  /** The session's limits, as the broker told them. */
  get limits(): Limits {
    return this.#engine.hello.limits;
  }
  /** What the token allows. */
  get scopes(): readonly string[] {
    return this.#engine.hello.scopes;
  }
  /** Whether a session stands now. Nothing needs it: requests and streams wait for the next one. */
  get connected(): boolean {
    return this.#engine.connection.state === "ready";
  }

  /** Opens `home`, `mentions`, `user:HANDLE`, `tag:TAG`, `thread:POST` or `firehose`. Subscribes at once; what arrives
   *  before the loop begins is kept. */
  stream(stream: string, options: StreamOptions = {}): Stream {
    return this.#engine.stream(stream, options);
  }

  /** Publishes `text`. Resolves when it is durable. Retried over reconnections, and published once all the same. */
  post(text: string, options: PostOptions = {}): Promise<ResultOf<"post">> {
    return this.#engine.request("post", { text, ...options });
  }
  repost(post: string, options: ActAs = {}): Promise<ResultOf<"repost">> {
    return this.#engine.request("repost", { post, ...options });
  }
  /** Deletes a post of one's own. */
  delete(post: string, options: ActAs = {}): Promise<ResultOf<"delete">> {
    return this.#engine.request("delete", { post, ...options });
  }
  async get(post: string, options: ActAs = {}): Promise<Post> {
    return (await this.#engine.request("get", { post, ...options })).post;
  }
  follow(user: string, options: ActAs = {}): Promise<ResultOf<"follow">> {
    return this.#engine.request("follow", { user, ...options });
  }
  unfollow(user: string, options: ActAs = {}): Promise<ResultOf<"unfollow">> {
    return this.#engine.request("unfollow", { user, ...options });
  }
  /** A page of the users whom `user` (oneself by default) follows; pass its `after` to get the next. */
  following(user?: string, options: UsersOptions = {}): Promise<ResultOf<"following">> {
    return this.#engine.request("following", { ...(user !== undefined && { user }), ...options });
  }
  /** A page of the users who follow `user`, oneself by default. */
  followers(user?: string, options: UsersOptions = {}): Promise<ResultOf<"followers">> {
    return this.#engine.request("followers", { ...(user !== undefined && { user }), ...options });
  }
  /** What `user` and I are to each other. */
  relationship(user: string, options: ActAs = {}): Promise<ResultOf<"relationship">> {
    return this.#engine.request("relationship", { user, ...options });
  }
  /** A page of a stream, `before` or `after` a cursor; the newest page by default. */
  read(stream: string, options: ReadOptions = {}): Promise<ResultOf<"read">> {
    return this.#engine.request("read", { stream, ...options });
  }
  /** The durable cursor of a stream for this device; `set` moves it, back or forth. */
  cursor(stream: string, options: CursorOptions = {}): Promise<ResultOf<"cursor">> {
    return this.#engine.request("cursor", { stream, ...options });
  }
  /** Asks the broker for its time. */
  ping(): Promise<ResultOf<"ping">> {
    return this.#engine.request("ping", {});
  }
  /** Renews the token in place, and keeps it for the next session. */
  auth(token: string): Promise<ResultOf<"auth">> {
    return this.#engine.auth(token);
  }
  /** Any operation of the protocol, typed by its name. */
  request<Name extends RequestOp>(op: Name, fields: FieldsOf<Name>): Promise<ResultOf<Name>> {
    if (!sessionOps.has(op)) return this.#engine.request(op, fields);
    const message = `op: ${op} belongs to the session; use stream(), Stream.ack() or connect()`;
    return Promise.reject(new WhalesongError("bad_request", message, { field: "op" }));
  }

  /** Hears `connect`, `disconnect`, `goodbye`, `error` and `close`. Returns what takes the listener away. */
  on<Name extends keyof ClientEvents>(name: Name, listener: (value: ClientEvents[Name]) => void): () => void {
    return this.#engine.events.on(name, listener);
  }

  /** Acknowledges what is finished, ends every stream, refuses what is unanswered with `closed`, and disconnects. */
  close(): Promise<void> {
    return this.#engine.close();
  }

  [asyncDispose](): Promise<void> {
    return this.#engine.close();
  }
}

/** Resolves when the first session stands. Failures that retrying can mend are retried until the signal aborts; the
 *  others reject, as does any failure of `getToken`. */
export async function connectOn(
  platform: Platform,
  url: string | readonly string[],
  options: ConnectOptions = {},
): Promise<Client> {
  const settings = settle(url, options, platform);
  const { signal, onError } = options;
  if (signal?.aborted === true) throw signal.reason;
  const engine = new Engine(platform, settings);
  if (onError !== undefined) engine.events.on("error", onError);
  const abort = (): void => void engine.close(signal?.reason);
  signal?.addEventListener("abort", abort);
  engine.events.on("close", () => signal?.removeEventListener("abort", abort));
  await engine.start();
  return new Client(engine);
}
