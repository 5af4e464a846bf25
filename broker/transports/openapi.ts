/* OpenAPI: the HTTP surface as a document (OpenAPI 3.1), written from the table of routes and the protocol's schemas.
 *
 * A schema that the protocol names is written once, under its name, and referred to wherever it occurs. */

import type { TProperties, TSchema } from "typebox";

import {
  Cursor,
  CursorEvent,
  DeleteEvent,
  EndEvent,
  type ErrorCode,
  ErrorSchema,
  GoodbyeEvent,
  Handle,
  LiveEvent,
  Post,
  PostEvent,
  PostId,
  RepostEvent,
  StreamItem,
  StreamText,
  errorCodes,
  limits,
  requestFields,
  resultSchemas,
} from "../../protocol/index.ts";
import { type PathNames, type Route, routes, shortName, streamQuery } from "./routes.ts";

type Json = Record<string, unknown>;

const named: Record<string, TSchema> = {
  Handle,
  PostId,
  Cursor,
  StreamName: StreamText,
  Post,
  PostEvent,
  RepostEvent,
  DeleteEvent,
  CursorEvent,
  LiveEvent,
  GoodbyeEvent,
  EndEvent,
  StreamItem,
};

/** Schemas have no identity once they are made optional: equal text is the same schema. */
const nameOf = new Map(Object.entries(named).map(([name, schema]) => [JSON.stringify(schema), name]));

/** What any request under /v1 may be refused with. */
const commonErrors = ["bad_request", "unauthenticated", "forbidden", "rate_limited", "internal"] as const;

const pathText: Record<PathNames, string> = {
  user: "A user's handle.",
  target: "The other user's handle.",
  post: "A post's id.",
  stream: "A stream's name, in percent-encoding.",
};
const actorText = "Who acts: oneself, or with the scope `backend` any user.";

export function createOpenApi(version: string): Json {
  return {
    openapi: "3.1.0",
    info: {
      title: "Whalesong",
      version,
      summary: "A pub/sub message broker for social streams.",
      description:
        "Commands and reads over HTTP, streams as Server-Sent Events. Live streams over WebSockets are at `/v1/ws`.\n\n" +
        "Without an auth secret the broker is in open mode: say who you are by `?user=`, or by a path that names who acts. " +
        "Else send a token: `Authorization: Bearer …`, or `?token=` where headers cannot be sent.\n\n" +
        `Bodies are JSON of ${limits.frameBytes} bytes at most. Refusals have one shape, \`{"error": {…}}\`; \`retryable\` says whether the same request may succeed later.`,
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    tags: [
      { name: "posts", description: "What users publish." },
      { name: "users", description: "Follows, timelines and cursors of users." },
      { name: "streams", description: "Streams in pages, and live." },
      { name: "operation", description: "For those who run a broker. No credentials needed." },
    ],
    security: [{ bearer: [] }, { token: [] }, { user: [] }],
    paths: { ...apiPaths(), ...streamPath(), ...operatorPaths() },
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT", description: "`sub` is the handle." },
        token: {
          type: "apiKey",
          in: "query",
          name: "token",
          description: "The same token, for EventSource.",
        },
        user: { type: "apiKey", in: "query", name: "user", description: "In open mode: who you are." },
      },
      schemas: {
        ...Object.fromEntries(Object.entries(named).map(([name, schema]) => [name, inner(schema)])),
        Error: { ...errorSchema(), description: "Why a request was refused." },
      },
      responses: errorResponses(),
    },
  };
}

function apiPaths(): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) (paths[route.path] ??= {})[route.method.toLowerCase()] = operation(route);
  return paths;
}

function operation(route: Route): Json {
  const { name, summary, description, status = 200, op, errors, body } = route;
  return {
    operationId: name,
    summary,
    ...defined({ description }),
    tags: [route.path.split("/")[2]!],
    parameters: [...pathParameters(route), ...queryParameters(op, route.query)],
    ...(body === undefined ? {} : { requestBody: requestBody(op, body) }),
    responses: {
      [status]: { description: "Done.", content: json(write(resultSchemas[op])) },
      ...refusals([...errors, ...(body === undefined ? [] : (["too_large"] as const))]),
    },
  };
}

function pathParameters({ path, isActor }: Route): Json[] {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as PathNames);
  const schemas = { user: Handle, target: Handle, post: PostId, stream: StreamText };
  return names.map((name) => ({
    name,
    in: "path",
    required: true,
    description: name === "user" && isActor === true ? actorText : pathText[name],
    schema: write(schemas[name]),
  }));
}

/** Parameters for `names`, with the schemas that the fields of `op` have. */
function queryParameters(op: keyof typeof requestFields, names: readonly string[]): Json[] {
  const fields: TProperties = requestFields[op];
  return names.map((name) => {
    const [field, within] = name.split(".") as [string, string | undefined];
    const of = within === undefined ? fields[field]! : propertiesOf(fields[field]!)[within]!;
    const { description = queryText[name], ...schema } = write(of);
    return { name: shortName(name, names), in: "query", ...defined({ description }), schema };
  });
}

const queryText: Record<string, string> = {
  before: "Go back from here: what the page before gave as `before`.",
  after: "Go on from here: what the page before gave as `after`.",
  limit: "How many at most.",
};

function defined(fields: Json): Json {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function propertiesOf(schema: TSchema): TProperties {
  return (schema as TSchema & { properties: TProperties }).properties;
}

function requestBody(op: keyof typeof requestFields, { fields, required }: NonNullable<Route["body"]>): Json {
  const schemas: TProperties = requestFields[op];
  const properties = Object.fromEntries(fields.map((field) => [field, write(schemas[field]!)]));
  return {
    required: true,
    content: json({ type: "object", required, properties, additionalProperties: false }),
  };
}

function streamPath(): Json {
  const fields = streamQuery.filter((name) => name !== "device" && name !== "lastEventId");
  const parameters = queryParameters("subscribe", fields);
  for (const parameter of parameters) {
    if (parameter["name"] === "stream") parameter["required"] = true;
    if (parameter["name"] === "from") parameter["description"] = fromText;
    // A WebSocket's `as` may be a number too.
    if (parameter["name"] === "as")
      Object.assign(parameter, { description: actorText, schema: write(Handle) });
  }
  const lastEventId = {
    description: "The cursor to go on after, instead of `from`; browsers send the header by themselves.",
    schema: write(Cursor),
  };
  return {
    "/v1/stream": {
      get: {
        operationId: "stream",
        summary: "A stream as Server-Sent Events",
        description:
          "Each event has its cursor as `id`, its kind as `event`, and as `data` the JSON of one of PostEvent, RepostEvent, DeleteEvent, " +
          "CursorEvent, LiveEvent, GoodbyeEvent, EndEvent. The first `live` marks the end of catching up. After `goodbye` come back in `retry` " +
          "ms; after `end` the answer ends, and says why. A reader cannot acknowledge on this way: resume by Last-Event-ID, or keep a " +
          "device's durable cursor by `PUT /v1/users/{user}/cursors/{stream}`.",
        tags: ["streams"],
        parameters: [
          ...parameters,
          ...queryParameters("hello", ["device"]),
          { name: "lastEventId", in: "query", ...lastEventId },
          { name: "Last-Event-ID", in: "header", ...lastEventId },
        ],
        responses: {
          200: {
            description: "Events, without end.",
            content: text("text/event-stream"),
          },
          ...refusals(["not_found", "cursor_too_old", "epoch_mismatch", "cursor_in_future", "unavailable"]),
        },
      },
    },
  };
}

const fromText =
  "Where to start: `live`, `earliest`, a cursor, or `resume`, the device's durable cursor. `resume` with a `device`, else `live`, when it is left out.";

function operatorPaths(): Json {
  const path = (operationId: string, summary: string, responses: Json): Json => ({
    get: { operationId, summary, tags: ["operation"], security: [], responses },
  });
  const status = json({
    type: "object",
    required: ["status"],
    properties: { status: { type: "string" }, version: { type: "string" } },
  });
  return {
    "/healthz": path("health", "Whether it is alive", { 200: { description: "It is.", content: status } }),
    "/readyz": path("readiness", "Whether it serves: takes commands, and the store can be written", {
      200: { description: "It does.", content: status },
      503: { $ref: "#/components/responses/503" },
    }),
    "/metrics": path("metrics", "Metrics for Prometheus", {
      200: { description: "Its text format.", content: text("text/plain") },
    }),
    "/client.js": path("browserClient", "The browser client as a module", {
      200: { description: "JavaScript.", content: text("text/javascript") },
      304: { description: "As before." },
      404: { $ref: "#/components/responses/404" },
    }),
    "/openapi.json": path("openApi", "This document", {
      200: { description: "OpenAPI 3.1.", content: json({ type: "object" }) },
    }),
  };
}

function refusals(codes: readonly ErrorCode[]): Json {
  const statuses = new Set([...commonErrors, ...codes].map((code) => errorCodes[code].status));
  return Object.fromEntries(
    [...statuses]
      .sort((a, b) => a - b)
      .map((status) => [status, { $ref: `#/components/responses/${status}` }]),
  );
}

/** A response for each status that errors travel under, with what its codes mean. */
function errorResponses(): Json {
  const meanings = new Map<number, string[]>();
  for (const [code, { status, meaning, retryable }] of Object.entries(errorCodes)) {
    const line = `\`${code}\`: ${meaning}${retryable ? " (retryable)" : ""}`;
    meanings.set(status, [...(meanings.get(status) ?? []), line]);
  }
  const schema = {
    type: "object",
    required: ["error"],
    properties: { error: { $ref: "#/components/schemas/Error" } },
  };
  return Object.fromEntries(
    [...meanings].map(([status, lines]) => [
      status,
      { description: lines.join(";\n"), ...headersOf(status), content: json(schema) },
    ]),
  );
}

function headersOf(status: number): Json {
  if (status !== 429) return {};
  return { headers: { "Retry-After": { description: "Seconds to wait.", schema: { type: "integer" } } } };
}

function errorSchema(): Json {
  const schema = inner(ErrorSchema) as Json & { properties: Json };
  const code = { type: "string", enum: Object.keys(errorCodes) };
  return { ...schema, properties: { ...schema.properties, code } };
}

function text(type: string): Json {
  return { [type]: { schema: { type: "string" } } };
}

function json(schema: unknown): Json {
  return { "application/json": { schema } };
}

/** A schema as it stands in the document: by reference when it has a name. */
function write(schema: unknown): Json {
  const name = nameOf.get(JSON.stringify(schema));
  return name === undefined ? inner(schema) : { $ref: `#/components/schemas/${name}` };
}

/** A schema with those within it by reference. A choice of constants is written as an `enum`. */
function inner(schema: unknown): Json {
  const { anyOf, ...rest } = schema as Json & { anyOf?: { const?: unknown }[] };
  if (anyOf?.every((choice) => typeof choice.const === "string") === true) {
    return { ...(writeWithin(rest) as Json), type: "string", enum: anyOf.map((choice) => choice.const) };
  }
  return writeWithin(schema) as Json;
}

function writeWithin(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(writeItem);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, writeItem(item)]));
}

function writeItem(item: unknown): unknown {
  if (Array.isArray(item)) return item.map(writeItem);
  return typeof item === "object" && item !== null ? write(item) : item;
}
