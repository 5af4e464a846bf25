/* Validation: a decoded frame becomes a request, or an error that names the field, the limit and the mend. */

import { Compile } from "typebox/compile";

import { WhalesongError } from "./errors.ts";
import { type Op, type Request, type RequestOf, requestSchemas } from "./schemas.ts";

interface Fault {
  keyword: string;
  instancePath: string;
  params: Record<string, unknown>;
  message: string;
}
interface Validator {
  Check(value: unknown): boolean;
  Errors(value: unknown): Iterable<Fault>;
}

const validators = new Map<string, Validator>();

function validatorOf(op: string): Validator | undefined {
  const known = validators.get(op);
  if (known !== undefined) return known;
  if (!Object.hasOwn(requestSchemas, op)) return undefined;
  const compiled = Compile(requestSchemas[op as Op]) as unknown as Validator;
  validators.set(op, compiled);
  return compiled;
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
  const validator = validatorOf(op);
  if (validator === undefined) {
    throw new WhalesongError("unknown_op", `op: there is no operation ${JSON.stringify(op.slice(0, 64))}`, {
      field: "op",
    });
  }
  if (!validator.Check(frame)) throw faultError(op, validator.Errors(frame));
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

function faultError(op: string, faults: Iterable<Fault>): WhalesongError {
  const all = [...faults];
  const fault =
    all.find((f) => f.keyword === "additionalProperties") ??
    all.find((f) => f.keyword === "required") ??
    all.find((f) => f.keyword === "anyOf") ??
    all[0];
  if (fault === undefined)
    return new WhalesongError("bad_request", `${op}: the request is not of the operation's shape`);
  const path = fault.instancePath.slice(1).replaceAll("/", ".");
  const at = (name: unknown): string => (path === "" ? String(name) : `${path}.${String(name)}`);
  switch (fault.keyword) {
    case "additionalProperties": {
      const field = at((fault.params["additionalProperties"] as string[])[0]);
      return new WhalesongError("bad_request", `${field.slice(0, 80)}: ${op} has no such field`, {
        field: field.slice(0, 80),
      });
    }
    case "required": {
      const field = at((fault.params["requiredProperties"] as string[])[0]);
      return new WhalesongError("bad_request", `${field}: ${op} needs this field`, { field });
    }
    case "anyOf": {
      const allowed = all
        .filter((f) => f.keyword === "const" && f.instancePath === fault.instancePath)
        .map((f) => JSON.stringify(f.params["allowedValue"]));
      const mend = allowed.length > 0 ? `one of ${allowed.join(", ")}` : fault.message;
      return new WhalesongError("bad_request", `${path}: ${mend}`, { field: path });
    }
    default:
      return new WhalesongError(
        "bad_request",
        `${path === "" ? op : path}: ${fault.message}`,
        path === "" ? {} : { field: path },
      );
  }
}

/** Levels of arrays and maps in `value`, counting no further than `most` + 1. */
export function depthOf(value: unknown, most: number): number {
  if (typeof value !== "object" || value === null) return 0;
  if (most <= 0) return 1;
  let deepest = 0;
  for (const inner of Object.values(value)) {
    deepest = Math.max(deepest, depthOf(inner, most - 1));
    if (deepest >= most) break;
  }
  return deepest + 1;
}
