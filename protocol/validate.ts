/* Validation: a decoded frame becomes a request, or an error that names the field, the limit and the mend.
 *
 * The first fault ends it, and an array is measured before its items are looked at: what a refused frame costs does not grow with
 * what it holds. */

import type { TSchema } from "typebox";
import { Compile } from "typebox/compile";

import { WhalesongError } from "./errors.ts";
import { type Op, type Request, type RequestOf, requestSchemas } from "./schemas.ts";

interface Validator {
  Check(value: unknown): boolean;
  Errors(value: unknown): Iterable<{ message: string }>;
}

/** What is read of a schema to name a fault. */
interface Shape {
  properties?: Record<string, Shape>;
  required?: string[];
  items?: Shape;
  maxItems?: number;
  anyOf?: { const?: unknown }[];
}

interface Checked {
  validator: Validator;
  shape: Shape;
  /** Its fields that are arrays, and how many items each has at most. */
  arrays: [name: string, maxItems: number][];
}

const checkedOps = new Map<string, Checked>();

function checkedOf(op: string): Checked | undefined {
  const known = checkedOps.get(op);
  if (known !== undefined) return known;
  if (!Object.hasOwn(requestSchemas, op)) return undefined;
  const schema = requestSchemas[op as Op];
  const shape = schema as Shape;
  const checked: Checked = { validator: compile(schema), shape, arrays: [] };
  for (const [name, { maxItems }] of Object.entries(shape.properties ?? {}))
    if (maxItems !== undefined) checked.arrays.push([name, maxItems]);
  checkedOps.set(op, checked);
  return checked;
}

function compile(schema: TSchema): Validator {
  return Compile(schema);
}

/** Checks a whole frame. @throws `bad_request` or `unknown_op`. */
export function checkRequest(frame: unknown): Request {
  if (typeof frame !== "object" || frame === null || Array.isArray(frame)) {
    throw new WhalesongError("bad_request", "a request is a map: {id, op, …}");
  }
  const op: unknown = (frame as { op?: unknown }).op;
  if (typeof op !== "string") {
    throw new WhalesongError(
      "bad_request",
      `op: a request names its operation as a string; got ${typeof op}`,
      { field: "op" },
    );
  }
  return checkFields(op, frame);
}

/** Checks `frame` as a request of the operation `op`. @throws `bad_request` or `unknown_op`. */
export function checkFields<K extends Op>(op: K, frame: unknown): RequestOf<K>;
export function checkFields(op: string, frame: unknown): Request;
export function checkFields(op: string, frame: unknown): Request {
  const checked = checkedOf(op);
  if (checked === undefined) {
    throw new WhalesongError("unknown_op", `op: there is no operation ${JSON.stringify(op.slice(0, 64))}`, {
      field: "op",
    });
  }
  for (const [name, maxItems] of checked.arrays) {
    const items: unknown = (frame as Record<string, unknown> | null)?.[name];
    if (Array.isArray(items) && items.length > maxItems) throw refusal(name, tooMany(maxItems));
  }
  if (!checked.validator.Check(frame)) {
    const fault = firstFault(checked.shape, frame, { op, path: "" });
    throw fault ?? new WhalesongError("bad_request", `${op}: the request is not of the operation's shape`);
  }
  refuseHalfCharacters(frame as Request);
  return frame as Request;
}

const loneSurrogate = /\p{Surrogate}/u;

/** Half a surrogate pair is no character: it has no UTF-8, so what is stored would not be what was sent. `data` looks after itself. */
function refuseHalfCharacters(request: Request): void {
  // Every request comes by here: no list of its entries is made.
  for (const name in request) {
    const value: unknown = request[name as keyof Request];
    if (name !== "data" && holdsHalfCharacter(value)) {
      throw new WhalesongError(
        "bad_request",
        `${name}: holds half of a surrogate pair, which is no character`,
        {
          field: name,
        },
      );
    }
  }
}

function holdsHalfCharacter(value: unknown): boolean {
  if (typeof value === "string") return loneSurrogate.test(value);
  return Array.isArray(value) && value.some(holdsHalfCharacter);
}

/** Whether `text` is made of whole characters. */
export function isWellFormed(text: string): boolean {
  return !loneSurrogate.test(text);
}

interface Place {
  op: string;
  /** Of the value in the frame: `mentions.3`; empty for the frame itself. */
  path: string;
}

/** The first thing that is wrong with `value`: what it has too much, what it lacks, what is of a wrong shape. */
function firstFault(shape: Shape, value: unknown, { op, path }: Place): WhalesongError | undefined {
  const at = (name: string): Place => ({ op, path: path === "" ? name : `${path}.${name}` });
  if (shape.properties !== undefined && isMap(value)) {
    for (const name in value) {
      if (Object.hasOwn(shape.properties, name)) continue;
      return refusal(at(name).path.slice(0, 80), `${op} has no such field`);
    }
    for (const name of shape.required ?? [])
      if (!Object.hasOwn(value, name)) return refusal(at(name).path, `${op} needs this field`);
    for (const [name, inner] of Object.entries(shape.properties)) {
      const fault = Object.hasOwn(value, name) ? firstFault(inner, value[name], at(name)) : undefined;
      if (fault !== undefined) return fault;
    }
    return undefined;
  }
  if (shape.items !== undefined && Array.isArray(value)) {
    if (value.length > (shape.maxItems ?? Infinity)) return refusal(path, tooMany(shape.maxItems!));
    for (const [i, item] of value.entries()) {
      const fault = firstFault(shape.items, item, at(String(i)));
      if (fault !== undefined) return fault;
    }
    return undefined;
  }
  return faultOfScalar(shape, value, { op, path });
}

const validators = new WeakMap<Shape, Validator>();

/** Of a field that is no map or array: what is wrong with it is told without looking into it. */
function faultOfScalar(shape: Shape, value: unknown, { op, path }: Place): WhalesongError | undefined {
  let validator = validators.get(shape);
  if (validator === undefined) validators.set(shape, (validator = compile(shape)));
  if (validator.Check(value)) return undefined;
  const allowed = (shape.anyOf ?? []).filter((one) => "const" in one).map((one) => JSON.stringify(one.const));
  if (allowed.length > 0) return refusal(path, `one of ${allowed.join(", ")}`);
  const messages = [...validator.Errors(value)].map(({ message }) => message);
  // Of several shapes that are allowed the last error says that it is none of them.
  const message = (shape.anyOf === undefined ? messages[0] : messages.at(-1)) ?? "is not as it should be";
  return path === "" ? new WhalesongError("bad_request", `${op}: ${message}`) : refusal(path, message);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function tooMany(maxItems: number): string {
  return `must not have more than ${maxItems} items`;
}

function refusal(field: string, message: string): WhalesongError {
  return new WhalesongError("bad_request", `${field}: ${message}`, { field });
}

/** What `value` has too much of as JSON: levels of arrays and maps, or bytes as far as counting shows; undefined when it has not.
 *  Looks no further than it takes to know. */
export function excessOf(
  value: unknown,
  { levels, bytes }: { levels: number; bytes: number },
): "levels" | "bytes" | undefined {
  const open: { holder: unknown; level: number }[] = [{ holder: value, level: 1 }];
  let count = 1;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { holder, level } = next;
    if (typeof holder === "string") count += holder.length;
    if (count > bytes) return "bytes";
    if (typeof holder !== "object" || holder === null) continue;
    if (level > levels) return "levels";
    for (const name in holder) {
      count += 1 + (Array.isArray(holder) ? 0 : name.length);
      if (count > bytes) return "bytes";
      open.push({ holder: (holder as Record<string, unknown>)[name], level: level + 1 });
    }
  }
  return undefined;
}
