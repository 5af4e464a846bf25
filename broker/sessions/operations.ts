/* Operations: what a request does, whichever transport it came by.
 *
 * Takes a request whose shape has been checked and a principal; answers the map that goes under `ok`, or throws a
 * WhalesongError. Each runs synchronously up to its append, so requests of one connection are applied in the order sent.
 * What a read answers is durable when it is answered. */

import {
  type FieldsOf,
  type Op,
  type RequestOf,
  type ResultOf,
  WhalesongError,
  checkDevice,
  checkHandle,
  checkTag,
  defaultPageItems,
  excessOf,
  extractMentions,
  extractTags,
  isWellFormed,
  limits,
} from "../../protocol/index.ts";
import type { Log } from "../log/log.ts";
import type { Command, Offset, State, UserNo } from "../state/index.ts";
import type { Stream, Streams } from "../streams/index.ts";
import type { Cursors } from "./cursor-keeper.ts";
import type { Intake } from "./intake.ts";
import { Places } from "./places.ts";
import { type Principal, actingUser, requireScope } from "./principal.ts";
import { Readers } from "./readers.ts";

/** The name under which a client that gives none keeps its cursors. */
export const defaultDevice = "default";

/** What any request for something to read counts as, in look-ups. */
const requestLookups = 10;
/** Follows that count as one look-up. */
const followsPerLookup = 4;

/** Operations that need a session; the others are answered here for every transport. */
export type SessionOp = "hello" | "auth" | "ping" | "subscribe" | "unsubscribe" | "ack";
export type StatelessOp = Exclude<Op, SessionOp>;

export interface OperationsParts {
  state: State;
  log: Log;
  streams: Streams;
  cursors: Cursors;
  intake: Intake;
}

export class Operations {
  readonly places: Places;
  readonly readers: Readers;
  readonly #parts: OperationsParts;

  constructor(parts: OperationsParts) {
    this.places = new Places(parts);
    this.readers = new Readers(parts);
    this.#parts = parts;
  }

  /** Runs a request. @throws WhalesongError */
  execute<K extends StatelessOp>(
    request: RequestOf<K>,
    principal: Principal,
    device = defaultDevice,
  ): Promise<ResultOf<K>> {
    // Not async, nor are the commands below: tens of thousands run each second, and every promise between costs.
    try {
      return this.#execute(request, principal, device) as Promise<ResultOf<K>>;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #execute(request: RequestOf<StatelessOp>, principal: Principal, device: string): Promise<object> {
    actingUser(principal, request.as); // whatever is asked, naming another user needs the right to
    switch (request.op) {
      case "post":
        return this.#post(request as RequestOf<"post">, principal);
      case "repost":
      case "delete":
        return this.#onPost(request as RequestOf<"repost" | "delete">, principal);
      case "follow":
      case "unfollow":
        return this.#follow(request as RequestOf<"follow" | "unfollow">, principal);
      case "get":
      case "following":
      case "followers":
      case "relationship":
      case "read":
      case "cursor":
        return this.#answer(request, principal, device);
    }
  }

  /** Requests that change nothing but cursors: held to what their user may read. */
  #answer(request: RequestOf<StatelessOp>, principal: Principal, device: string): Promise<object> {
    this.charge(principal);
    switch (request.op) {
      case "get":
        return this.#get(request as RequestOf<"get">, principal);
      case "following":
      case "followers":
        return this.#users(request as RequestOf<"following" | "followers">, principal);
      case "relationship":
        return this.#relationship(request as RequestOf<"relationship">, principal);
      case "read":
        return this.#read(request as RequestOf<"read">, principal);
      default:
        return this.#cursor(request as RequestOf<"cursor">, principal, device);
    }
  }

  /** Counts a request for something to read, as what it costs at the least; `lookups` more where they are known before.
   *  @throws `rate_limited` while what the user has read came to more than they may */
  charge(principal: Principal, lookups = 0): void {
    this.#parts.intake.admit(principal);
    this.#parts.intake.spend(principal, requestLookups + lookups);
  }

  /** Counts a subscription: to begin one to `home` costs what its reader follows. @throws `rate_limited` */
  chargeSubscription(principal: Principal, stream: Stream): void {
    const follows = stream.kind === "home" ? this.#parts.state.follows.count(stream.reader) : 0;
    this.charge(principal, Math.ceil(follows / followsPerLookup));
  }

  /**
   * A stream for whom `principal` acts as, and that reader's handle. Nobody becomes a user by it: a reader who is none has number 0, who
   * follows nobody. An author who is none is not found, unless the stream is to `await` both.
   * @throws `forbidden`, `not_found`, `bad_request`
   */
  async resolveStream(
    fields: Pick<FieldsOf<"read">, "stream" | "filter"> & { as?: string | undefined },
    principal: Principal,
    purpose: "look" | "await",
  ): Promise<{ stream: Stream; reader: string }> {
    requireScope(principal, "read");
    const reader = checkHandle(actingUser(principal, fields.as), fields.as === undefined ? "user" : "as");
    if (fields.stream.startsWith("thread:"))
      await this.places.reachPost(fields.stream.slice("thread:".length));
    const { state, streams } = this.#parts;
    state.refresh();
    const number = state.users.find(reader) ?? 0;
    const awaiting = purpose === "await" ? reader : undefined;
    const stream = streams.resolve(fields.stream, fields.filter, number, awaiting);
    if (stream.kind === "firehose") requireScope(principal, "firehose");
    return { stream, reader };
  }

  #post(request: RequestOf<"post">, principal: Principal): Promise<ResultOf<"post">> {
    const { text, data, replyTo, key } = request;
    const user = this.#writer(principal, request.as);
    const bytes = Buffer.byteLength(text);
    if (bytes > limits.textBytes) {
      throw new WhalesongError("too_large", `text: ${bytes} bytes; the limit is ${limits.textBytes}`, {
        field: "text",
      });
    }
    const dataBytes = data === undefined ? 0 : checkData(data);
    const mentions =
      request.mentions?.map((handle, i) => checkHandle(handle, `mentions.${i}`)) ?? extractMentions(text);
    const tags = request.tags?.map((tag, i) => checkTag(tag, `tags.${i}`)) ?? extractTags(text);
    const command: Command = { op: "post", user, text, mentions, tags };
    if (data !== undefined) command.data = data;
    if (replyTo !== undefined) command.replyTo = replyTo;
    if (key !== undefined) command.key = key;
    return this.#publish(
      command,
      principal,
      bytes + dataBytes + bytesOf(mentions) + bytesOf(tags) + (key?.length ?? 0),
    );
  }

  #onPost(
    { op, as, post }: RequestOf<"repost" | "delete">,
    principal: Principal,
  ): Promise<ResultOf<"repost">> {
    return this.#publish({ op, user: this.#writer(principal, as), post }, principal);
  }

  async #follow(
    { op, as, user }: RequestOf<"follow" | "unfollow">,
    principal: Principal,
  ): Promise<ResultOf<"follow">> {
    const acting = { user: this.#writer(principal, as), target: checkHandle(user) };
    const command: Command = op === "follow" ? { op, ...acting, most: limits.follows } : { op, ...acting };
    const { error } = await this.#parts.intake.append(command, principal);
    if (error !== undefined) throw error;
    return { state: op === "follow" ? "following" : "none" };
  }

  async #get({ post: id }: RequestOf<"get">, principal: Principal): Promise<ResultOf<"get">> {
    requireScope(principal, "read");
    const { state, streams } = this.#parts;
    await this.places.reachPost(id);
    state.refresh();
    const offset = state.positions.parseId(id);
    let entry = offset === undefined ? undefined : state.entry(offset);
    if (entry?.kind === "repost" && !entry.deleted) entry = state.entry(entry.original);
    if (entry?.kind !== "post" || entry.deleted) {
      throw new WhalesongError("not_found", `post: there is no post ${JSON.stringify(id)}`, {
        field: "post",
      });
    }
    return this.#durably(state.applied(), { post: streams.deliveries.describe(entry) });
  }

  async #users(
    request: RequestOf<"following" | "followers">,
    principal: Principal,
  ): Promise<ResultOf<"following">> {
    requireScope(principal, "read");
    const { state, streams, intake } = this.#parts;
    state.refresh();
    // Of others one asks by name; a caller who was never heard of follows nobody, and nobody follows them.
    const user =
      request.user === undefined
        ? (state.users.find(checkHandle(actingUser(principal, request.as))) ?? 0)
        : this.#knownUser(request.user);
    const most = request.limit ?? 100;
    const after = request.after === undefined ? 0 : Number(request.after);
    if (!Number.isInteger(after) || after < 0 || after >= 2 ** 32 - 1) {
      throw new WhalesongError("bad_request", "after: pass what the page before gave as `after`", {
        field: "after",
      });
    }
    const { result, applied } = await streams.readUsers(
      { of: request.op, user, after, most },
      { onSpent: (lookups) => intake.spend(principal, lookups) },
    );
    const { users, next } = result;
    return this.#durably(applied, next === undefined ? { users } : { users, after: String(next) });
  }

  async #relationship(
    { as, user }: RequestOf<"relationship">,
    principal: Principal,
  ): Promise<ResultOf<"relationship">> {
    requireScope(principal, "read");
    const { state } = this.#parts;
    state.refresh();
    const other = this.#knownUser(user);
    const me = state.users.find(checkHandle(actingUser(principal, as)));
    const following = me !== undefined && state.follows.has(me, other);
    const followedBy = me !== undefined && state.follows.has(other, me);
    const result = {
      user: state.users.handle(other),
      following,
      followedBy,
      mutual: following && followedBy,
    };
    return this.#durably(state.applied(), result);
  }

  async #read(request: RequestOf<"read">, principal: Principal): Promise<ResultOf<"read">> {
    if (request.before !== undefined && request.after !== undefined) {
      throw new WhalesongError(
        "bad_request",
        "before: a page goes back (before) or forth (after), not both",
        { field: "before" },
      );
    }
    requireScope(principal, "read");
    const { state, streams, intake } = this.#parts;
    await this.places.current();
    const bounds: { before?: Offset; after?: Offset } = {};
    if (request.before !== undefined) {
      bounds.before = state.positions.parseCursor(request.before, "before");
      await this.places.reach(bounds.before);
    }
    if (request.after !== undefined) bounds.after = await this.places.reached(request.after, "after");
    const { stream } = await this.resolveStream(request, principal, "look");
    const { after } = bounds;
    // As each step begins, so that the floor is that of what is read: what a trim takes from a page under way is told.
    const check = after === undefined ? undefined : () => this.places.refuseTooOld(after, "after");
    const limit = request.limit ?? defaultPageItems;
    const { result: page, applied } = await streams.read(
      { stream, limit, ...bounds },
      { check, onSpent: (lookups) => intake.spend(principal, lookups) },
    );
    const result: ResultOf<"read"> = { items: page.items, after: state.positions.cursor(page.after) };
    if (page.before !== undefined) result.before = state.positions.cursor(page.before);
    return this.#durably(applied, result);
  }

  async #cursor(
    request: RequestOf<"cursor">,
    principal: Principal,
    device: string,
  ): Promise<ResultOf<"cursor">> {
    const { cursors, state } = this.#parts;
    const turn = this.places.turn();
    const { stream, reader } = await this.resolveStream(request, principal, "await");
    const name = request.device === undefined ? device : checkDevice(request.device);
    const cursorName = { reader, device: name, stream: stream.name };
    const result = { stream: stream.name, device: name };
    let key = this.readers.keyOf(cursorName);
    if (request.set === undefined) {
      const cursor = key === undefined ? undefined : await cursors.get(key);
      return cursor === undefined ? result : { ...result, cursor: state.positions.cursor(cursor.offset) };
    }
    const position = await this.places.position(request.set, "set", turn);
    if (key === undefined) key = await this.readers.make(cursorName, principal);
    else await this.readers.charge(principal);
    await cursors.get(key); // its next generation is to be higher than any node's
    cursors.seek(key, position);
    await cursors.flush(key);
    const moved = (await cursors.get(key)) ?? { offset: position };
    return { ...result, cursor: state.positions.cursor(moved.offset) };
  }

  /** The handle that a command acts as. @throws `forbidden`, `bad_request` */
  #writer(principal: Principal, as: string | undefined): string {
    requireScope(principal, "write");
    return checkHandle(actingUser(principal, as), as === undefined ? "user" : "as");
  }

  #publish(command: Command, principal: Principal, bytes = 0): Promise<ResultOf<"post">> {
    const { positions } = this.#parts.state;
    return this.#parts.intake.append(command, principal, bytes).then((outcome) => {
      if (outcome.error !== undefined) throw outcome.error;
      return {
        id: positions.id(outcome.answer),
        cursor: positions.cursor(Math.max(outcome.answer, outcome.entry?.offset ?? 0)),
      };
    });
  }

  #knownUser(handle: string): UserNo {
    const user = this.#parts.state.users.find(checkHandle(handle));
    if (user === undefined) {
      throw new WhalesongError("not_found", `user: there is no user ${JSON.stringify(handle)}`, {
        field: "user",
      });
    }
    return user;
  }

  /** Answers `result` once the state it was read from is durable. */
  #durably<T>(applied: Offset, result: T): T | Promise<T> {
    const { log } = this.#parts;
    if (applied <= log.durable) return result;
    return new Promise((resolve) => {
      log.whenDurable(applied, () => resolve(result));
    });
  }
}

/** The bytes of its JSON. @throws `too_large`, `bad_request` */
function checkData(data: unknown): number {
  const excess = excessOf(data, { levels: limits.dataDepth, bytes: limits.dataBytes });
  if (excess !== undefined) {
    const limit =
      excess === "levels"
        ? `over ${limits.dataDepth} levels of arrays and maps`
        : `over ${limits.dataBytes} bytes as JSON, which is the limit`;
    throw new WhalesongError("too_large", `data: ${limit}`, { field: "data" });
  }
  const fault = faultOf(data);
  if (fault !== undefined) throw new WhalesongError("bad_request", `data: ${fault}`, { field: "data" });
  const bytes = Buffer.byteLength(JSON.stringify(data));
  if (bytes > limits.dataBytes) {
    throw new WhalesongError("too_large", `data: ${bytes} bytes as JSON; the limit is ${limits.dataBytes}`, {
      field: "data",
    });
  }
  return bytes;
}

function bytesOf(names: string[]): number {
  let bytes = 0;
  for (const name of names) bytes += Buffer.byteLength(name);
  return bytes;
}

const halfCharacter = "a text holds half of a surrogate pair, which is no character";

/** What keeps `data` from coming back as it was given, in either codec; undefined when nothing does. */
function faultOf(data: unknown): string | undefined {
  if (typeof data === "number" && !Number.isFinite(data)) return "a number is beyond ±1.8e308";
  if (typeof data === "string" && !isWellFormed(data)) return halfCharacter;
  if (typeof data !== "object" || data === null) return undefined;
  if (!Array.isArray(data) && !Object.keys(data).every(isWellFormed)) return halfCharacter;
  if (Object.hasOwn(data, "__proto__")) return 'a map has the key "__proto__", which is not kept; rename it';
  for (const inner of Object.values(data)) {
    const fault = faultOf(inner);
    if (fault !== undefined) return fault;
  }
  return undefined;
}
