/* Requests: from what HTTP brings to the fields of an operation.
 *
 * Paths and queries are text: whole numbers are read from it here, with an error that says so. What a route does not know
 * is refused by name, so that a misspelt parameter is never silently left out. Nothing here becomes a key of a map that a
 * client chose, but by the route's leave. */

import type { IncomingMessage } from "node:http";

import { WhalesongError, checkHandle, fold } from "../../protocol/index.ts";
import type { Authenticator, Principal } from "../sessions/index.ts";
import { badBearer, credentialsOf, isOfOtherScheme } from "./credentials.ts";
import { badRequest } from "./errors.ts";
import type { Query } from "./query.ts";
import { type Path, type Route, credentialQuery, shortName } from "./routes.ts";

/** Who asks. In open mode a path that says who acts says it for the whole request. @throws `unauthenticated` */
export function authenticate(
  authenticator: Authenticator,
  { request, query, actor }: { request: IncomingMessage; query: Query; actor?: string | undefined },
): Promise<Principal> {
  const credentials = credentialsOf(request, query);
  if (!authenticator.isOpen && isOfOtherScheme(request, credentials))
    throw badBearer("`Bearer` and a token are needed here");
  const isToldByPath = authenticator.isOpen && credentials.user === undefined;
  return authenticator.authenticate(isToldByPath ? { ...credentials, user: actor } : credentials);
}

/** The fields that a request gives to the operation of `route`, unchecked but for their names. @throws `bad_request` */
export function fieldsOf(
  route: Route,
  { path, query, body }: { path: Path; query: Query; body: unknown },
): Record<string, unknown> {
  return {
    ...queryFields(query, route.query),
    ...bodyFields(route, body),
    ...route.fields(path),
  };
}

/** The fields in a query. @throws `bad_request` naming what is not among `names` */
export function queryFields(query: Query, names: readonly string[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  const filter: Record<string, string> = {};
  for (const [given, text] of query) {
    if ((credentialQuery as readonly string[]).includes(given)) continue;
    const name = names.find((known) => given === known || given === shortName(known, names));
    if (name === undefined) throw unknownParameter(given, names);
    if (text === "" && name !== "limit") continue;
    const [field, within] = name.split(".") as [string, string | undefined];
    if (within === undefined) fields[field] = name === "limit" ? wholeNumber(name, text) : text;
    else if (Object.hasOwn(filter, within)) throw badRequest(name, "is given twice");
    else filter[within] = text;
  }
  if (Object.keys(filter).length > 0) fields["filter"] = filter;
  return fields;
}

function unknownParameter(name: string, names: readonly string[]): WhalesongError {
  const known = [...names.map((each) => shortName(each, names)), ...credentialQuery].join(", ");
  return badRequest(name.slice(0, 80), `there is no such parameter here; there are ${known}`);
}

function wholeNumber(name: string, text: string): number {
  if (/^-?\d{1,15}$/.test(text)) return Number(text);
  throw badRequest(name, `a whole number is needed; got ${JSON.stringify(text.slice(0, 80))}`);
}

function bodyFields({ body: allowed, op }: Route, body: unknown): Record<string, unknown> {
  if (body !== undefined && (typeof body !== "object" || body === null || Array.isArray(body))) {
    throw badRequest("body", "a JSON map is needed");
  }
  const fields = (body ?? {}) as Record<string, unknown>;
  for (const name of Object.keys(fields)) {
    if (allowed?.fields.includes(name) !== true)
      throw badRequest(name.slice(0, 80), `the body of ${op} has no such field`);
  }
  for (const name of allowed?.required ?? []) {
    if (!Object.hasOwn(fields, name)) throw badRequest(name, "the body needs this field");
  }
  return fields;
}

/** `as` for a path that says who acts: nothing for oneself. @throws `bad_request` */
export function asOf(actor: string, principal: Principal): { as?: string } {
  return fold(checkHandle(actor)) === fold(principal.user) ? {} : { as: actor };
}

/** Parses a body. @throws `bad_request` */
export function parseJson(text: string): unknown {
  if (text === "") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new WhalesongError(
      "bad_request",
      `body: this is not JSON: ${(cause as Error).message}`,
      { field: "body" },
      { cause },
    );
  }
  refusePrototypes(value);
  return value;
}

/** `__proto__` is a key like any other to JSON, and a trap in whatever language reads it back. */
function refusePrototypes(value: unknown): void {
  const open = [value];
  while (open.length > 0) {
    const map = open.pop();
    if (typeof map !== "object" || map === null) continue;
    if (Object.hasOwn(map, "__proto__")) throw badRequest("__proto__", "no key of a map may be called so");
    for (const inner of Object.values(map)) open.push(inner);
  }
}
