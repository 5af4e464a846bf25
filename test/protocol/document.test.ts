/* PROTOCOL.md says what the code does: every operation, event, code, limit and route, and no others. Its frames are valid. */

import { readFileSync } from "node:fs";
import { test } from "tap";
import type { TProperties, TSchema } from "typebox";
import { Value } from "typebox/value";

import { defaults } from "../../broker/options.ts";
import { routes, streamQuery } from "../../broker/transports/routes.ts";
import { scopes } from "../../broker/sessions/principal.ts";
import { closeCodes, mayComeBack } from "../../protocol/close.ts";
import { subprotocols } from "../../protocol/codec.ts";
import { errorCodes } from "../../protocol/errors.ts";
import { limits, rateNames } from "../../protocol/limits.ts";
import * as schemas from "../../protocol/schemas.ts";
import { checkRequest } from "../../protocol/validate.ts";
import { type Row, chapter, frames, section, sections, tables } from "./document.ts";

const { Filter, Post, ops, requestFields, resultSchemas } = schemas;
const text = readFileSync(new URL("../../protocol/PROTOCOL.md", import.meta.url), "utf8");

/** The only table of `part` whose first column is headed so. */
function tableOf(part: string, heading: string): Row[] {
  const found = tables(part).filter((table) => table.heading === heading);
  if (found.length !== 1) throw new Error(`${found.length} tables headed ${JSON.stringify(heading)}`);
  return found[0]!.rows;
}

/** The type that a schema stands for, in the document's words. */
function typeOf(schema: TSchema): string {
  const { type, anyOf, items } = schema as TSchema & { type?: string; anyOf?: TSchema[]; items?: TSchema };
  if (anyOf !== undefined) return [...new Set(anyOf.map(typeOf))].join(" or ");
  if (type === "array") return `array of ${typeOf(items!)}`;
  return type === undefined ? "any" : type === "object" ? "map" : type;
}

function propertiesOf(schema: TSchema): { name: string; type: string; isRequired: boolean }[] {
  const { properties, required = [] } = schema as TSchema & { properties: TProperties; required?: string[] };
  return Object.entries(properties).map(([name, property]) => ({
    name,
    type: typeOf(property),
    isRequired: required.includes(name),
  }));
}

/** The limits on the field `name`, as numbers. A handle's is the tighter one that names are checked by. */
function boundsOf(name: string, schema: TSchema): number[] {
  const { maxLength, maxItems, maximum, anyOf } = schema as TSchema & {
    [K in "maxLength" | "maxItems" | "maximum"]?: number;
  } & { anyOf?: TSchema[] };
  if (anyOf !== undefined) return anyOf.flatMap((one) => boundsOf(name, one));
  const isHandle = name === "user" || name === "as";
  const chars = isHandle && maxLength !== undefined ? limits.handleChars : maxLength;
  return [chars, maxItems, maximum].filter((bound) => bound !== undefined);
}

function numbersIn(cell: string): number[] {
  return (cell.match(/\d[\d,]*/g) ?? []).map((digits) => Number(digits.replaceAll(",", "")));
}

void test("every operation is there, and no other", async (t) => {
  t.same(Object.keys(sections(chapter(text, "Operations"))).toSorted(), [...ops].toSorted());
});

for (const op of ops) {
  const part = section(chapter(text, "Operations"), op);

  void test(`${op}: every field with its type, its limit and whether it is required`, async (t) => {
    const whole = propertiesOf(schemas.requestSchemas[op]).filter(
      ({ name }) => name !== "id" && name !== "op",
    );
    if (whole.length === 0) {
      t.match(part, /^No fields\.$/m);
      t.notOk(tables(part).some(({ heading }) => heading === "field"));
      return;
    }
    const rows = tableOf(part, "field");
    t.same(
      rows.map(([name, type, , required]) => ({ name, type, isRequired: required === "yes" })),
      whole,
    );
    for (const [name = "", , limit = ""] of rows) {
      const schema = (requestFields[op] as TProperties)[name]!;
      for (const bound of boundsOf(name, schema))
        t.ok(numbersIn(limit).includes(bound), `${op}.${name}: ${bound}`);
    }
  });

  void test(`${op}: every field of its answer, and only known errors`, async (t) => {
    const rows = tableOf(part, "answer");
    t.same(
      rows.map(([name, type, always]) => ({ name, type, isRequired: always === "yes" })),
      propertiesOf(resultSchemas[op]),
    );
    const [, errors = ""] = /^Errors: ([\s\S]*?)\n\n/m.exec(`${part}\n\n`) ?? [];
    const codes = [...errors.matchAll(/`(\w+)`/g)].map(([, code]) => code!);
    const ownFields = new Set(propertiesOf(schemas.requestSchemas[op]).map(({ name }) => name));
    for (const code of codes) {
      t.ok(Object.hasOwn(errorCodes, code) || ownFields.has(code), `${op}: there is an error ${code}`);
    }
  });
}

void test("the limits of a post's text and data are those the broker checks", async (t) => {
  const rows = tableOf(section(chapter(text, "Operations"), "post"), "field");
  const limitOf = (field: string): number[] => numbersIn(rows.find(([name]) => name === field)![2]!);
  t.same(limitOf("text"), [limits.textBytes]);
  t.same(limitOf("data"), [limits.dataBytes, limits.dataDepth]);
});

/** The schema of each event, by its name. */
const eventSchemas = new Map<string, TSchema>();
for (const [name, schema] of Object.entries(schemas)) {
  if (!name.endsWith("Event")) continue;
  const { event } = (schema as TSchema & { properties: { event: { const: string } } }).properties;
  eventSchemas.set(event.const, schema);
}

/** The fields that a section of "Events" lists, but for the number put in front of what is pushed. */
function eventFieldsOf(part: string): object[] {
  return tableOf(part, "field")
    .filter(([name]) => name !== "sub")
    .map(([name, type, always]) => ({ name, type, isRequired: always === "yes" }));
}

void test("every event and each of its fields", async (t) => {
  const { "The map of a post": post, ...parts } = sections(chapter(text, "Events"));
  t.same(Object.keys(parts).toSorted(), [...eventSchemas.keys()].toSorted());
  for (const [name, schema] of eventSchemas) t.same(eventFieldsOf(parts[name]!), propertiesOf(schema), name);
  t.same(eventFieldsOf(post!), propertiesOf(Post), "the map of a post");
});

void test("every error code with its status and whether it may be retried, and the map it travels as", async (t) => {
  t.same(
    tableOf(chapter(text, "Errors"), "code").map(([code, status, retryable]) => ({
      code,
      status,
      retryable,
    })),
    Object.entries(errorCodes).map(([code, { status, retryable }]) => ({
      code,
      status: String(status),
      retryable: retryable ? "yes" : "no",
    })),
  );
  t.same(
    tableOf(section(chapter(text, "Frames"), "Requests and answers"), "field").map(
      ([name, type, always]) => ({
        name,
        type,
        isRequired: always === "yes",
      }),
    ),
    propertiesOf(schemas.ErrorSchema),
  );
});

void test("every close code with its number and whether to come back", async (t) => {
  t.same(
    tableOf(chapter(text, "Close codes"), "code").map(([code, name, comeBack]) => ({ code, name, comeBack })),
    Object.entries(closeCodes).map(([name, code]) => ({
      code: String(code),
      name,
      comeBack: mayComeBack(code) ? "yes" : "no",
    })),
  );
});

void test("the ranges of close codes say what mayComeBack does, code by code", async (t) => {
  const rows = tableOf(chapter(text, "Close codes"), "codes");
  const standard: { codes: string; comeBack: boolean }[] = rows.map(([codes = "", word = ""]) => ({
    codes,
    comeBack: word.startsWith("yes"),
  }));
  const documented = (code: number): boolean => {
    for (const { codes, comeBack } of standard) {
      if (codes.startsWith("all other codes below 4000") && code < 4000) return comeBack;
      const [first, last] = codes.split("–").map(Number);
      if (codes.includes("–") ? code >= first! && code <= last! : numbersIn(codes).includes(code))
        return comeBack;
    }
    throw new Error(`nothing is said of ${code}`);
  };
  for (const code of [
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015,
  ]) {
    t.equal(documented(code), mayComeBack(code), `${code}`);
  }
  for (let code = 4000; code < 5000; code++) {
    if (documented(code) !== mayComeBack(code)) t.fail(`${code}`);
  }
});

void test("every limit with its value", async (t) => {
  t.same(
    tableOf(chapter(text, "Limits"), "limit").map(([name, value]) => [name, numbersIn(value!)]),
    Object.entries(limits).map(([name, value]) => [name, [value]]),
  );
});

void test("every rate with its default", async (t) => {
  t.same(
    tableOf(section(chapter(text, "Limits"), "Rates"), "rate").map(([name, value]) => [
      name,
      numbersIn(value!),
    ]),
    rateNames.map((name) => [name, [defaults[name]]]),
  );
});

function names(rows: Row[]): string[] {
  return rows.map(([name]) => name!);
}

void test("subprotocols, scopes and filters are all named", async (t) => {
  t.same(names(tableOf(chapter(text, "Connecting"), "subprotocol")), Object.values(subprotocols));
  t.same(names(tableOf(chapter(text, "Rights"), "scope")), scopes);
  const filters = tableOf(chapter(text, "Streams"), "filter").filter(([, , values]) => values !== undefined);
  t.same(names(filters), Object.keys(Filter.properties));
  for (const [name = "", , values = ""] of filters) {
    const { anyOf } = (Filter.properties as TProperties)[name] as TSchema & { anyOf: { const: string }[] };
    const listed = values.match(/\w+(?= |,|$)/g)!.filter((word) => word !== "default");
    t.same(listed.toSorted(), anyOf.map((value) => value.const).toSorted(), name);
  }
});

function list(cell: string): string[] {
  return cell.split(", ").filter((name) => name !== "");
}

void test("every HTTP route with its operation, actor, query and body", async (t) => {
  t.same(
    tableOf(chapter(text, "HTTP and Server-Sent Events"), "method").map(
      ([method, path, op, actor, query = ""]) => ({
        method,
        path,
        op,
        isActor: actor === "yes",
        query: list(query),
      }),
    ),
    routes.map(({ method, path, op, isActor = false, query }) => ({
      method,
      path,
      op,
      isActor,
      query: query.map((name) => name.replace("filter.", "")),
    })),
  );
  const parameters = names(tableOf(chapter(text, "HTTP and Server-Sent Events"), "parameter"));
  const named = streamQuery.map((name) => (name === "filter.replies" ? "replies" : name));
  t.same(parameters.toSorted(), named.toSorted());
});

void test("the frames of the scenarios are valid: requests pass the check, answers and events match their schemas", async (t) => {
  const asked = new Map<string, schemas.Op>();
  const counts = { requests: 0, answers: 0, errors: 0, events: 0 };
  for (const { client, direction, json } of frames(chapter(text, "Scenarios"), limits)) {
    const frame = JSON.parse(json) as Record<string, unknown>;
    const key = `${client} ${String(frame["id"])}`;
    const { event, ok, error } = frame;
    if (direction === "→") {
      counts.requests++;
      asked.set(key, frame["op"] as schemas.Op);
      if (!json.includes('"txt"')) t.doesNotThrow(() => checkRequest(frame), json);
      else t.throws(() => checkRequest(frame), { code: "bad_request" });
    } else if (typeof event === "string") {
      counts.events++;
      t.ok(Value.Check(eventSchemas.get(event)!, frame), json);
      t.equal(typeof frame["sub"], event === "goodbye" ? "undefined" : "number", json);
    } else if (error !== undefined) {
      counts.errors++;
      const { code, retryable } = error as { code: keyof typeof errorCodes; retryable: boolean };
      t.ok(Value.Check(schemas.ErrorSchema, error), json);
      t.equal(errorCodes[code].retryable, retryable, json);
      t.ok(asked.has(key), `asked: ${json}`);
    } else {
      counts.answers++;
      t.ok(Value.Check(resultSchemas[asked.get(key)!], ok), json);
    }
  }
  for (const [kind, count] of Object.entries(counts)) t.ok(count > 3, `${kind} are found: ${count}`);
});
