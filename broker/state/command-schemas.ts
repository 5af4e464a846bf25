/* Command schemas: what a command may be at each level, checked by whoever appends it and by whoever reads it from a cluster's log. Whatever
 * passes can be applied. */

import { type TProperties, type TSchema, Type } from "typebox";
import { Compile } from "typebox/compile";

import { maxOffset } from "./bytes.ts";
import type { Command, Stamped } from "./commands.ts";
import { type Level, newestLevel, oldestLevel } from "./levels.ts";

/** Of a name, in UTF-16 units; four times as many bytes are short of what a key of LMDB may have. */
const maxNameUnits = 256;
const maxKeyUnits = 256;
const maxNames = 10_000;

const Given = Type.String({ minLength: 1, maxLength: maxNameUnits, pattern: "^[^\\u0000]*$" });
const Name = Type.Union([Given, Type.Tuple([Given, Given])]);
const Offset = Type.Integer({ minimum: 0, maximum: maxOffset });
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
/** As entries keep it: 48 bits. */
const Time = Offset;
const Post = Type.String();

/** The fields of each operation beside `op`, `at`; `name` is what a name is there. */
function fieldsOf(name: TSchema): { [op in Exclude<Command["op"], "level">]: TProperties } {
  const names = Type.Array(name, { maxItems: maxNames });
  return {
    user: { user: name },
    post: {
      user: name,
      text: Type.String(),
      mentions: names,
      tags: names,
      data: Type.Optional(Type.Unknown()),
      replyTo: Type.Optional(Post),
      key: Type.Optional(Type.String({ maxLength: maxKeyUnits })),
    },
    repost: { user: name, post: Post },
    delete: { user: name, post: Post },
    follow: { user: name, target: name, most: Type.Optional(Count) },
    unfollow: { user: name, target: name },
    trim: { floor: Offset, most: Count },
  };
}

interface Check {
  Check(value: unknown): boolean;
  Errors(value: unknown): Iterable<{ instancePath: string; message: string }>;
}

type Checks = ReadonlyMap<string, Check>;

function checksOf(fields: { [op: string]: TProperties }): Checks {
  const checks = new Map<string, Check>();
  for (const [op, properties] of Object.entries(fields)) {
    const schema = { op: Type.Literal(op), at: Time, ...properties };
    checks.set(op, Compile(Type.Object(schema, { additionalProperties: false })));
  }
  return checks;
}

const levelOne = fieldsOf(Given);
const levelTwo = fieldsOf(Name);

const checks: { readonly [level in Level]: Checks } = {
  1: checksOf(levelOne),
  2: checksOf({
    ...levelTwo,
    trim: { ...levelTwo.trim, keyLifeMs: Count },
    level: { to: Type.Integer({ minimum: oldestLevel + 1, maximum: newestLevel }) },
  }),
};

/** Why `command` is none of this level, in words; undefined when it is one. */
export function faultOf(command: unknown, level: Level): string | undefined {
  const op: unknown = (command as { op?: unknown } | null | undefined)?.op;
  if (typeof op !== "string") return "a command is a map with an op";
  const check = checks[level].get(op);
  if (check === undefined) return `there is no command ${JSON.stringify(op.slice(0, 64))}`;
  if (check.Check(command)) return undefined;
  for (const { instancePath, message } of check.Errors(command)) return `${op}${instancePath}: ${message}`;
  return `${op}: not as it should be`;
}

/** The same of a command that is on its way into a log. */
export function faultOfStamped(command: Stamped): string | undefined {
  if (command.level === undefined) return faultOf(command, newestLevel);
  const { level, ...bare } = command;
  return faultOf(bare, level);
}
