/* Credentials: who asks, as a request's header and query say it. The same for HTTP, Server-Sent Events and the upgrade to a
 * WebSocket.
 *
 * A proxy may add an `Authorization` of its own (Basic, Digest, …): another scheme than Bearer is not for us, and is passed
 * over. What is empty says nothing. */

import type { IncomingMessage } from "node:http";

import { WhalesongError } from "../../protocol/index.ts";
import type { Credentials } from "../sessions/index.ts";
import { type Query, valueOf } from "./query.ts";

/** The token or name that comes with a request. @throws `unauthenticated` for a Bearer that is none */
export function credentialsOf({ headersDistinct }: IncomingMessage, query: Query): Credentials {
  const [token = valueOf(query, "token"), ...more] = bearersOf(headersDistinct["authorization"]);
  if (more.length > 0) throw badBearer("it is given twice");
  return { token, user: valueOf(query, "user") };
}

/** Whether someone shows what is meant for somebody else, and nothing that is meant for us. */
export function isOfOtherScheme({ headers }: IncomingMessage, { token }: Credentials): boolean {
  return token === undefined && headers.authorization !== undefined && headers.authorization !== "";
}

function bearersOf(values: readonly string[] = []): string[] {
  return values
    .filter((value) => /^Bearer( |$)/i.test(value))
    .map((value) => {
      const [, token] = /^Bearer +(\S+) *$/i.exec(value) ?? [];
      if (token === undefined) throw badBearer("`Bearer` and a token are needed here");
      return token;
    });
}

/** @returns the refusal of an `Authorization` header */
export function badBearer(message: string): WhalesongError {
  return new WhalesongError("unauthenticated", `authorization: ${message}`, { field: "authorization" });
}
