/* Options of connect(), checked and with their defaults, and of streams. */

import type { CodecName } from "../../protocol/codec.ts";
import { WhalesongError } from "../../protocol/errors.ts";
import type { Filter } from "../../protocol/schemas.ts";
import type { BackoffOptions } from "./backoff.ts";
import type { AbortSignalLike, Platform } from "./platform.ts";

export interface ConnectOptions {
  /** Who to be, on a broker without authentication. */
  user?: string;
  /** A JWT whose `sub` is the user. */
  token?: string;
  /** Gives a fresh JWT: asked before each connection, and again shortly before the token expires. A failure rejects
   *  `connect()`; later it is reported as `error` and tried again. */
  getToken?: () => Promise<string> | string;
  /** This client's own name for itself; durable cursors are kept for each (user, device, stream). */
  device?: string;
  /** Act as this user; needs the scope `backend`. */
  as?: string;
  /** @default "msgpack" */
  codec?: CodecName;
  /** Ends the connection, as `close()` does; before the session stands it rejects `connect()` with its reason. */
  signal?: AbortSignalLike;
  /** Name and version of the program, for the broker's log. */
  client?: string;
  /** Back-off between two attempts at one URL, full jitter, with a ceiling that doubles from `initialMs` (default 100)
   *  to `maxMs` (default 10,000); the other URLs are tried meanwhile. `false` gives up at the first failure. */
  reconnect?: Partial<BackoffOptions> | false;
  /** How long a request may go without its answer, reconnections included; 0 for no limit. The time that it waits for
   *  the broker's rate does not count. @default 30_000 */
  requestTimeoutMs?: number;
  /** A request that is refused as `rate_limited` is sent again when the broker says, and those behind it wait. Past these
   *  bounds it is refused to the caller, with the broker's error. `false` never waits. */
  rateLimit?: Partial<RateLimitOptions> | false;
  /** How long one attempt may take to reach a session. @default 10_000 */
  connectTimeoutMs?: number;
  /** Silence after which the broker is asked for a sign of life; as much again, and the connection is given up.
   *  @default 30_000; with several URLs 10_000, so that another node is asked before a request times out */
  heartbeatMs?: number;
  /** Hears the errors of attempts that are retried, also before `connect()` resolves; as `on("error")`. */
  onError?: (error: Error) => void;
  /** Replaces the source of the back-off's jitter and of the order in which URLs are tried. */
  random?: () => number;
}

export interface RateLimitOptions {
  /** How long a request may wait for the broker's rate, in milliseconds. @default 300_000 */
  maxWaitMs: number;
  /** How many times it may be refused for the rate and sent again. @default 100 */
  maxRefusals: number;
}

export interface ActAs {
  /** Act as this user; needs the scope `backend`. */
  as?: string;
}
export interface StreamOptions extends ActAs {
  /** `resume` (after what this device acknowledged), `live`, `earliest` or a cursor. @default "resume" */
  from?: string;
  filter?: Filter;
  /** Ends the stream, as `break` does. */
  signal?: AbortSignalLike;
  /** `auto`: an event is acknowledged when the loop asks for the next; `manual`: by `stream.ack()`. @default "auto" */
  ack?: "auto" | "manual";
}

/** The way to one node. */
export interface NodeUrl {
  /** As the user wrote it. */
  readonly given: string;
  /** What a WebSocket opens. */
  readonly socket: string;
}

/** Options as the parts of the SDK read them. */
export interface Settings {
  readonly urls: readonly NodeUrl[];
  readonly user: string | undefined;
  readonly token: string | undefined;
  readonly getToken: (() => Promise<string> | string) | undefined;
  readonly device: string | undefined;
  readonly as: string | undefined;
  readonly codec: CodecName;
  readonly client: string;
  readonly backoff: BackoffOptions | undefined;
  readonly requestTimeoutMs: number;
  readonly rateLimit: RateLimitOptions;
  readonly connectTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly random: () => number;
}

/** @throws `bad_request` naming the option at fault. */
export function settle(
  url: string | readonly string[],
  options: ConnectOptions,
  platform: Platform,
): Settings {
  const urls = nodeUrls(typeof url === "string" ? splitUrls(url) : url.flatMap(splitUrls));
  if (urls.length === 0) throw refusal("url", "one URL at least is needed; got an empty list");
  const codec = options.codec ?? "msgpack";
  if (codec !== "msgpack" && codec !== "json") {
    throw refusal("codec", `msgpack or json; got ${JSON.stringify(codec)}`);
  }
  const reconnect = options.reconnect ?? {};
  return {
    urls,
    user: options.user,
    token: options.token,
    getToken: options.getToken,
    device: options.device,
    as: options.as,
    codec,
    client: options.client ?? `whalesong-${platform.name}`,
    backoff:
      reconnect === false
        ? undefined
        : {
            initialMs: duration("reconnect.initialMs", reconnect.initialMs ?? 100),
            maxMs: duration("reconnect.maxMs", reconnect.maxMs ?? 10_000),
          },
    requestTimeoutMs: duration("requestTimeoutMs", options.requestTimeoutMs ?? 30_000),
    rateLimit: rateLimit(options.rateLimit ?? {}),
    connectTimeoutMs: duration("connectTimeoutMs", options.connectTimeoutMs ?? 10_000),
    heartbeatMs: duration("heartbeatMs", options.heartbeatMs ?? (urls.length > 1 ? 10_000 : 30_000)),
    random: options.random ?? (() => platform.random()),
  };
}

/** The URLs in a text that holds one, or several with commas between. A comma within a URL divides nothing. */
export function splitUrls(text: string): string[] {
  return text
    .trim()
    .split(/\s*,\s*(?=[a-z]+:\/\/|$)/i)
    .filter((url) => url !== "");
}

/** Each URL once, however it was written. */
function nodeUrls(given: readonly string[]): NodeUrl[] {
  const bySocket = new Map<string, NodeUrl>();
  for (const url of given) {
    const socket = socketUrl(url);
    if (!bySocket.has(socket)) bySocket.set(socket, { given: url, socket });
  }
  return [...bySocket.values()];
}

const urlPattern = /^(ws|wss|http|https):\/\/([^/?#\s]+)(\/[^?#\s]*)?(\?[^#\s]*)?(?:#\S*)?$/i;

/** The WebSocket URL for what a user writes: http(s) is read as ws(s), and `/v1/ws` is added when missing. */
export function socketUrl(url: string): string {
  const match = urlPattern.exec(url);
  if (match === null) {
    throw refusal("url", `ws://, wss://, http:// or https:// and a host; got ${JSON.stringify(url)}`);
  }
  const [, scheme = "", host = "", path = "", query = ""] = match;
  const secure = /^(wss|https)$/i.test(scheme);
  const prefix = path.replace(/\/+$/, "");
  return `${secure ? "wss" : "ws"}://${host}${prefix.endsWith("/v1/ws") ? prefix : `${prefix}/v1/ws`}${query}`;
}

function rateLimit(given: Partial<RateLimitOptions> | false): RateLimitOptions {
  if (given === false) return { maxWaitMs: 0, maxRefusals: 0 };
  const maxRefusals = given.maxRefusals ?? 100;
  if (typeof maxRefusals !== "number" || !(maxRefusals >= 0)) {
    throw refusal("rateLimit.maxRefusals", `a count, 0 or more; got ${String(maxRefusals)}`);
  }
  return { maxWaitMs: duration("rateLimit.maxWaitMs", given.maxWaitMs ?? 300_000), maxRefusals };
}

function duration(option: string, ms: number): number {
  if (typeof ms !== "number" || !(ms >= 0)) {
    throw refusal(option, `milliseconds, 0 or more; got ${String(ms)}`);
  }
  return ms;
}

function refusal(field: string, mend: string): WhalesongError {
  return new WhalesongError("bad_request", `${field}: ${mend}`, { field });
}
