/* Query: the parameters of a URL.
 *
 * A parameter without a value is as if it were not there: forms and clients of many languages send such for what is not
 * set. A number alone is refused when it is empty. */

import { badRequest } from "./errors.ts";

/** Names and values as given, empty values too: a name that is not known is refused whatever its value. */
export type Query = ReadonlyMap<string, string>;

/** The parameters after the `?` of `url`. @throws `bad_request` for a name given twice or bad percent-encoding */
export function parseQuery(url: string): Query {
  const query = new Map<string, string>();
  const start = url.indexOf("?");
  if (start < 0) return query;
  for (const pair of url.slice(start + 1).split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = decode(equals < 0 ? pair : pair.slice(0, equals));
    const value = equals < 0 ? "" : decode(pair.slice(equals + 1));
    const before = valueOf(query, name);
    if (before !== undefined && value !== "") throw badRequest(name.slice(0, 80), "is given twice");
    query.set(name, before ?? value);
  }
  return query;
}

/** What `name` is set to, if to anything. */
export function valueOf(query: Query, name: string): string | undefined {
  const value = query.get(name);
  return value === "" ? undefined : value;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw badRequest(
      "url",
      `the query's percent-encoding is not UTF-8 in %XX: ${JSON.stringify(text.slice(0, 80))}`,
    );
  }
}
