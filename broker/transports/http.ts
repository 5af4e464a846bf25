/* HTTP transport: the operations as resources under /v1, streams as Server-Sent Events, and what operators look at.
 *
 *   request ──route──> fields ──checkFields──> Operations.execute ──> JSON
 *
 * No policy here: the schemas are the protocol's, and who may do what is the operations'. Refusals all have the shape of
 * errors.ts, those of fastify and of Node's parser included. WebSockets come by the same server, past all of this. */

import { isUtf8 } from "node:buffer";
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  fastify,
} from "fastify";
import type { Socket } from "node:net";

import { type ErrorCode, type FieldsOf, WhalesongError, checkFields, limits } from "../../protocol/index.ts";
import type { Logger } from "../logger.ts";
import {
  type Authenticator,
  type Operations,
  type Principal,
  type Rate,
  type Sessions,
  TokenBucket,
  weightOf,
} from "../sessions/index.ts";
import { ClientFile } from "./client-file.ts";
import { HttpError, badRequest, refusalOf, unknownMediaType } from "./errors.ts";
import { refuseAndEnd } from "./farewell.ts";
import { createOpenApi } from "./openapi.ts";
import { checkOpenModeOrigin, corsHeaders, isAllowed, preflightHeaders } from "./origins.ts";
import { type Query, parseQuery } from "./query.ts";
import { asOf, authenticate, fieldsOf, parseJson, queryFields } from "./requests.ts";
import { type Path, type Route, routes, streamQuery } from "./routes.ts";
import { EventStreams, refusedStream, streamHeaders } from "./sse.ts";
import { isAnswering, takeTurn } from "./turns.ts";
import { HttpRequest } from "./upgrades.ts";

/** A part of a path: the longest stream's name, each byte of it in percent-encoding. */
const pathPartChars = 4_096;
/** A request line and its headers: room for a token of the size that `hello` takes. */
const headBytes = 32_768;
/** How long a request may take to arrive, in ms; and how long a connection may stay without one. */
const requestTimeoutMs = 30_000;
const keepAliveMs = 72_000;

export interface HttpParts {
  operations: Operations;
  sessions: Sessions;
  authenticator: Authenticator;
  logger: Logger;
  health: {
    /** Why it does not serve at present; undefined when it does. */
    readiness(): string | undefined | Promise<string | undefined>;
  };
  /** Metrics in Prometheus' text format; undefined where the operators' port alone has them. */
  metrics: (() => Promise<string>) | undefined;
  /** Of the broker. */
  version: string;
  /** The built browser client. */
  browserClientFile: string;
  /** Origins of pages that may use the broker besides its own; `*` is any. */
  corsOrigins: readonly string[];
  /** Requests on one connection. @default not limited */
  connectionRate?: Rate;
  /** How often a quiet event stream gets a comment, in ms. @default 15000 */
  heartbeatMs?: number;
  /** How long a connection may take nothing of an answer, in ms. @default 60000 */
  noProgressMs?: number;
  /** ms that have gone by since whenever. @default performance.now */
  now?: () => number;
  onRefusal?: (code: ErrorCode) => void;
  /** @default it is logged */
  onFault?: (error: unknown) => void;
}

/** The server, ready to listen. */
export async function createHttpServer(parts: HttpParts): Promise<FastifyInstance> {
  const refuse = refuser(parts);
  const logger = frameworkLogger(parts.logger);
  const server = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }), // URLs may hold tokens
    childLoggerFactory: () => logger,
    bodyLimit: limits.frameBytes,
    requestTimeout: requestTimeoutMs,
    connectionTimeout: parts.noProgressMs ?? 60_000,
    keepAliveTimeout: keepAliveMs,
    http: { maxHeaderSize: headBytes, IncomingMessage: HttpRequest },
    routerOptions: { maxParamLength: pathPartChars },
    return503OnClosing: false, // operations say that the broker stops, in the shape that all refusals have
    frameworkErrors: (error, _request, reply) => refuse(error, reply as unknown as FastifyReply),
    clientErrorHandler: refuseUnreadable,
  });
  server.setErrorHandler((error, _request, reply) => refuse(error, reply));
  server.addHook("onRequest", inTurn);
  acceptJsonAlone(server);
  guardOrigins(server, parts);
  server.addHook("onRequest", refuseUnknown);
  const served = collectMethods(server);
  const streams = new EventStreams(parts.sessions, parts.heartbeatMs ?? 15_000);
  server.addHook("preClose", async () => streams.close());
  const greeter = new Greeter(parts);
  for (const route of routes) addRoute(server, route, { parts, greeter });
  addStream(server, { streams, greeter, parts });
  addHealthRoutes(server, parts);
  addFiles(server, parts);
  refuseOtherMethods(server, served);
  await server.ready();
  return server;
}

/** Fastify's own lines from `warn` on: what it does otherwise the broker tells in its own words. */
export function frameworkLogger(logger: Logger): FastifyBaseLogger {
  return logger.isLevelEnabled("warn") ? logger.child({}, { level: "warn" }) : logger;
}

export function refuser(
  parts: Pick<HttpParts, "logger" | "onRefusal" | "onFault">,
): (error: unknown, reply: FastifyReply) => void {
  const fault = faultHandler(parts);
  return (error, reply) => {
    const { status, headers, body } = refusalOf(error, fault);
    parts.onRefusal?.(body.error.code);
    reply.code(status).headers(headers).send(body);
  };
}

function faultHandler({ logger, onFault }: Pick<HttpParts, "logger" | "onFault">): (error: unknown) => void {
  return onFault ?? ((error) => logger.error({ err: error }, "fault"));
}

/** Begins the requests of one connection one after the other. */
export function inTurn({ raw }: FastifyRequest, reply: FastifyReply, done: () => void): void {
  takeTurn(raw, reply.raw, done);
}

/** What Node's parser refuses: there is no request to answer, but someone may read this. */
function refuseUnreadable(error: Error & { code?: string }, socket: Socket): void {
  // Nobody listens, or an answer is being written that this one must not stand in.
  if (error.code === "ECONNRESET" || socket.destroyed || isAnswering(socket)) {
    socket.destroy();
    return;
  }
  if (socket.writableEnded) return; // more of what was refused already; its end is near
  const [status, text] =
    error.code === "HPE_HEADER_OVERFLOW"
      ? ["431 Request Header Fields Too Large", `url and headers: over ${headBytes} bytes`]
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? ["408 Request Timeout", `the request did not arrive within ${requestTimeoutMs} ms`]
        : ["400 Bad Request", "this is not a request of HTTP/1.1"];
  refuseAndEnd(socket, status, new WhalesongError("bad_request", text).toBody());
}

/** Before a body is read that nobody asked for. */
export async function refuseUnknown({ is404, url }: FastifyRequest): Promise<void> {
  if (!is404) return;
  const path = url.split("?", 1)[0]!.slice(0, 200);
  throw new WhalesongError("not_found", `there is nothing at ${path}; /openapi.json lists what there is`);
}

function acceptJsonAlone(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  const options = { parseAs: "buffer" } as const;
  server.addContentTypeParser("application/json", options, async (_request: FastifyRequest, body: Buffer) => {
    if (!isUtf8(body)) throw new WhalesongError("bad_frame", "the body is not valid UTF-8");
    return parseJson(body.toString());
  });
  // Clients name a type for a body that they do not send, too: curl -d '' does. Where there are no bytes there is no body,
  // whatever it is called: the framework would refuse some names before it has looked.
  server.addHook("onRequest", async ({ raw: { headers } }) => {
    if (!/^application\/json\s*(;|$)/i.test(headers["content-type"] ?? "")) delete headers["content-type"];
  });
  server.addContentTypeParser("*", options, async (_request: FastifyRequest, body: Buffer) => {
    if (body.length > 0) throw unknownMediaType();
    return undefined;
  });
}

function guardOrigins(server: FastifyInstance, { corsOrigins, authenticator }: HttpParts): void {
  server.addHook("onRequest", async (request, reply) => {
    const { headers, method, raw, routeOptions } = request;
    reply.headers({
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer", // URLs may hold tokens
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
      "cache-control": "no-store",
      ...corsHeaders(headers.origin, corsOrigins),
    });
    const isPreflight = method === "OPTIONS" && headers["access-control-request-method"] !== undefined;
    if (isPreflight && headers.origin !== undefined && isAllowed(headers.origin, corsOrigins)) {
      return reply.code(204).headers(preflightHeaders(headers)).send();
    }
    if (authenticator.isOpen && !isHealthCheck(routeOptions.url)) checkOpenModeOrigin(raw, corsOrigins);
    return undefined;
  });
}

/** By the route that a path has found, however the path is spelled: monitors ask by any name, and learn nothing of anybody. */
export function isHealthCheck(route: string | undefined): boolean {
  return route === "/healthz" || route === "/readyz";
}

/** Finds out who asks, and holds back who asks too often. */
class Greeter {
  readonly #parts: HttpParts;
  readonly #buckets = new WeakMap<Socket, TokenBucket>();

  constructor(parts: HttpParts) {
    this.#parts = parts;
  }

  /** @throws `unauthenticated`, `rate_limited` */
  async greet({ raw }: FastifyRequest, query: Query, actor?: string): Promise<Principal> {
    const { authenticator } = this.#parts;
    const principal = await authenticate(authenticator, { request: raw, query, actor });
    this.#takeToken(raw, principal);
    return principal;
  }

  #takeToken({ socket, headers }: FastifyRequest["raw"], principal: Principal): void {
    const { connectionRate: rate, now = (): number => performance.now() } = this.#parts;
    if (rate === undefined || principal.scopes.has("backend")) return;
    let bucket = this.#buckets.get(socket);
    if (bucket === undefined) this.#buckets.set(socket, (bucket = new TokenBucket(rate, now())));
    const retryAfterMs = bucket.take(now(), weightOf(Number(headers["content-length"] ?? 0)));
    if (retryAfterMs === 0) return;
    throw new WhalesongError(
      "rate_limited",
      `over ${rate.perSecond} requests a second on this connection; wait ${retryAfterMs} ms`,
      { retryAfterMs },
    );
  }
}

/** The methods of each path that is added from here on. */
function collectMethods(server: FastifyInstance): ReadonlyMap<string, readonly string[]> {
  const served = new Map<string, string[]>();
  server.addHook("onRoute", ({ url, method }) => {
    served.set(url, [...(served.get(url) ?? []), ...[method].flat()]);
  });
  return served;
}

function addRoute(
  server: FastifyInstance,
  route: Route,
  { parts, greeter }: { parts: HttpParts; greeter: Greeter },
): void {
  server.route({
    method: route.method,
    url: route.path.replaceAll(/\{(\w+)\}/g, ":$1"),
    handler: async (request, reply) => {
      const query = parseQuery(request.url);
      const path = request.params as Path;
      const actor = route.isActor === true ? path.user : undefined;
      const principal = await greeter.greet(request, query, actor);
      const fields = fieldsOf(route, { path, query, body: request.body });
      const as = actor === undefined ? {} : asOf(actor, principal);
      const checked = checkFields(route.op, { ...fields, ...as, op: route.op });
      const result = await parts.operations.execute(checked, principal);
      if (route.op === "post" && "id" in result) reply.header("location", `/v1/posts/${result.id}`);
      return reply.code(route.status ?? 200).send(result);
    },
  });
}

function addStream(
  server: FastifyInstance,
  { streams, greeter, parts }: { streams: EventStreams; greeter: Greeter; parts: HttpParts },
): void {
  const start = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const query = parseQuery(request.url);
    const principal = await greeter.greet(request, query);
    const { device, lastEventId, from, ...rest } = queryFields(query, streamQuery);
    if (device !== undefined) checkFields("hello", { op: "hello", device });
    const preset = device === undefined ? "live" : "resume";
    const fields: FieldsOf<"subscribe"> = checkFields("subscribe", {
      ...rest,
      from: request.headers["last-event-id"] || (lastEventId ?? from ?? preset),
      op: "subscribe",
    });
    await streams.start(reply.raw, {
      principal,
      fields,
      device: device as string | undefined,
      headers: reply.getHeaders(),
    });
    reply.hijack();
  };
  server.route({
    method: "GET",
    url: "/v1/stream",
    exposeHeadRoute: false, // it would never end
    handler: async (request, reply) => {
      try {
        await start(request, reply);
        return undefined;
      } catch (error) {
        const refusal = refusalOf(error, faultHandler(parts)).body.error;
        if (!refusal.retryable) throw error;
        parts.onRefusal?.(refusal.code);
        return reply.headers(streamHeaders).send(refusedStream(refusal));
      }
    },
  });
  server.get("/v1/ws", () => {
    throw new HttpError(
      426,
      new WhalesongError("bad_request", "upgrade: WebSockets are served here: connect with ws:// or wss://"),
      { upgrade: "websocket", connection: "Upgrade" },
    );
  });
}

/** What operators' programs ask. */
export function addHealthRoutes(
  server: FastifyInstance,
  { health, metrics, version }: Pick<HttpParts, "health" | "metrics" | "version">,
): void {
  server.get("/healthz", () => ({ status: "alive", version }));
  server.get("/readyz", async () => {
    const reason = await health.readiness();
    if (reason !== undefined) throw new WhalesongError("unavailable", reason);
    return { status: "ready" };
  });
  server.get("/metrics", async (_request, reply) => {
    if (metrics === undefined)
      throw new WhalesongError(
        "not_found",
        "metrics are told at the operators' port alone (--operator-port)",
      );
    return reply.type("text/plain; version=0.0.4; charset=utf-8").send(await metrics());
  });
}

function addFiles(server: FastifyInstance, { version, browserClientFile }: HttpParts): void {
  const openApi = JSON.stringify(createOpenApi(version));
  server.get("/openapi.json", (_request, reply) => reply.type("application/json").send(openApi));
  const client = new ClientFile(browserClientFile);
  server.get("/client.js", async ({ headers }, reply) => {
    const content = await client.read();
    if (content === undefined) {
      throw new WhalesongError("not_found", "the browser client is not built here: npm run build makes it");
    }
    reply.headers({ etag: content.etag, "cache-control": "no-cache" });
    if (headers["if-none-match"]?.includes(content.etag) === true) return reply.code(304).send();
    return reply.type("text/javascript; charset=utf-8").send(content.body);
  });
}

/** Answers 405 where a path is known and the method is not its. */
function refuseOtherMethods(server: FastifyInstance, served: ReadonlyMap<string, readonly string[]>): void {
  for (const [url, methods] of served) {
    const allow = methods.join(", ");
    const refuse = ({ method }: FastifyRequest): never => {
      throw new HttpError(405, badRequest("method", `${method} is not served here; ${allow} is`), { allow });
    };
    server.route({
      method: ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"].filter(
        (method) => !methods.includes(method),
      ),
      url,
      exposeHeadRoute: false,
      onRequest: async (request) => refuse(request),
      handler: refuse,
    });
  }
}
