/* An HTTP server over a real broker's parts, and a client for it, for tests. */

import { type Agent, type OutgoingHttpHeaders, request as httpRequest } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { SignJWT } from "jose";
import { pino } from "pino";

import { Broker } from "../../broker/broker.ts";
import { LocalLog } from "../../broker/log/local.ts";
import { createMetrics } from "../../broker/metrics.ts";
import type { BrokerOptions } from "../../broker/options.ts";
import { CursorKeeper, LocalIntake, Operations, Rates, Sessions } from "../../broker/sessions/index.ts";
import { OpenAuthenticator } from "../../broker/sessions/open-authenticator.ts";
import { State } from "../../broker/state/index.ts";
import { Streams, type Subscription } from "../../broker/streams/index.ts";
import { type HttpParts, createHttpServer } from "../../broker/transports/http.ts";
import { type ErrorBody, WhalesongError } from "../../protocol/index.ts";
import { workers } from "../workers/count.ts";

export const secret = "a secret of more than 32 bytes, for tests alone";

/** A token of `secret`; `expires` as seconds since the Unix epoch, as `iat` is. */
export function tokenFor(
  sub: string,
  {
    scope = "read write",
    expires = 4e9,
    iat,
  }: { scope?: string; expires?: number; iat?: number | undefined } = {},
): Promise<string> {
  return new SignJWT(iat === undefined ? { scope } : { scope, iat })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(sub)
    .setExpirationTime(expires)
    .sign(new TextEncoder().encode(secret));
}

export interface Test {
  teardown: (handler: () => Promise<unknown>) => unknown;
}

/** A folder that `stop` lets go of before it is removed. */
export async function dataFolder(
  t: Test,
): Promise<{ path: string; stopBy: (stop: () => Promise<void>) => void }> {
  const path = await mkdtemp(join(tmpdir(), "whalesong-http-"));
  let stop: (() => Promise<void>) | undefined;
  t.teardown(async () => {
    await stop?.();
    await rm(path, { recursive: true, force: true });
  });
  return { path, stopBy: (by) => (stop = by) };
}

/** Starts a broker, and gives its URL. */
export async function startBroker(t: Test, options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const data = await dataFolder(t);
  const broker = await Broker.start({
    port: 0,
    data: data.path,
    logLevel: "silent",
    workers,
    metricsShareMs: 0,
    ...options,
  });
  data.stopBy(() => broker.stop(0));
  return broker;
}

export interface ServerUnderTest {
  url: string;
  faults: unknown[];
  streams: Streams;
  sessions: Sessions;
  /** Ends a subscription as the broker does when entries are gone. */
  end: (subscription: Subscription) => void;
}

/** Starts a server in open mode, with `parts` instead of its own. */
export async function startServer(t: Test, parts: Partial<HttpParts> = {}): Promise<ServerUnderTest> {
  const data = await dataFolder(t);
  const state = await State.open(data.path);
  const now = Date.now;
  const rate = { perSecond: 1e6, burst: 1e6 };
  const faults: unknown[] = [];
  const onFault = (error: unknown): void => void faults.push(error);
  const log = new LocalLog(state, { listener: (entries, durable) => streams.publish(entries, durable) });
  const streams: Streams = new Streams(state, {
    whenDurable: (offset, callback) => log.whenDurable(offset, callback),
    onTooOld: (subscription) => sessions.end(subscription, operations.places.tooOld("cursor")),
  });
  const cursors = new CursorKeeper(state, { onFailure: onFault });
  const intake = new LocalIntake(log, new Rates({ commands: rate, bytes: rate, reads: rate }, now), state);
  const operations = new Operations({ state, log, streams, cursors, intake });
  const authenticator = parts.authenticator ?? new OpenAuthenticator();
  const timeouts = { helloTimeoutMs: 10_000, noProgressMs: 60_000 };
  const sessions: Sessions = new Sessions({
    state,
    streams,
    cursors,
    operations,
    authenticator,
    now,
    elapsed: now,
    timeouts,
    onFault,
    node: "test",
    connectionRate: rate,
    onRefusal: () => {},
    onFallBack: () => metrics.onFallBack(),
    onHello: () => {},
  });
  const metrics = createMetrics({ state, log, streams, sessions });
  const server = await createHttpServer({
    operations,
    sessions,
    authenticator,
    onFault,
    logger: pino({ level: "silent" }),
    health: { readiness: () => log.refusal },
    metrics: () => metrics.text(),
    version: "1.2.3",
    browserClientFile: "/does/not/exist.js",
    corsOrigins: [],
    onRefusal: (code) => metrics.onRefusal(code),
    ...parts,
  });
  await server.listen({ host: "127.0.0.1", port: 0 });
  data.stopBy(async () => {
    await server.close();
    await log.close();
    await cursors.close();
    await state.close();
  });
  const { port } = server.server.address() as AddressInfo;
  const end = (subscription: Subscription): void =>
    sessions.end(subscription, new WhalesongError("cursor_too_old", "cursor: entries are gone"));
  return { url: `http://127.0.0.1:${port}`, faults, streams, sessions, end };
}

export interface Answer {
  status: number;
  headers: NodeJS.Dict<string | string[]>;
  text: string;
  /** The body as JSON. */
  json: Record<string, unknown>;
  error: ErrorBody;
}

export interface CallOptions {
  /** Sent as JSON, or as it is when it is a string or bytes. */
  body?: unknown;
  headers?: OutgoingHttpHeaders;
  token?: string;
  /** @default a connection of its own */
  agent?: Agent;
}

/** One request. */
export function call(
  base: string,
  line: string,
  { body, headers = {}, token, agent }: CallOptions = {},
): Promise<Answer> {
  const [method, path] = line.split(" ") as [string, string];
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${base}${path}`, { method, agent: agent ?? false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("error", reject).on("end", () => resolve(answerOf(response, text)));
    });
    request.on("error", reject);
    if (body !== undefined) request.setHeader("content-type", "application/json");
    if (token !== undefined) request.setHeader("authorization", `Bearer ${token}`);
    for (const [name, value] of Object.entries(headers)) request.setHeader(name, value!);
    const isRaw = body === undefined || typeof body === "string" || body instanceof Uint8Array;
    request.end(isRaw ? body : JSON.stringify(body));
  });
}

function answerOf(
  { statusCode = 0, headers }: { statusCode?: number | undefined; headers: Answer["headers"] },
  text: string,
): Answer {
  const isJson = String(headers["content-type"]).startsWith("application/json") && text !== "";
  const json = (isJson ? JSON.parse(text) : {}) as Record<string, unknown>;
  return { status: statusCode, headers, text, json, error: json["error"] as ErrorBody };
}
