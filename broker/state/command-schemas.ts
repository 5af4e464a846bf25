/* Command schemas: what a command may be at each level, checked by whoever appends it and by whoever reads it from a cluster's log. Whatever
 * passes can be applied. */

import { type TProperties, type TSchema, Type } from "typebox";
import { Compile } from "typebox/compile";

import { maxOffset } from "./bytes.ts";
import type { Command } from "./commands.ts";
import { type Level, newestLevel, oldestLevel } from "./levels.ts";
import type { Name } from "./names.ts";

/** Of a name or a key, in UTF-16 units; four times as many bytes are short of what a key of LMDB may have. */
const maxUnits = 256;
const maxNames = 10_000;

const Given = Type.String();
const NameSchema = Type.Union([Given, Type.Tuple([Given, Given])]);
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
      key: Type.Optional(Type.String()),
    },
    repost: { user: name, post: Post },
    delete: { user: name, post: Post },
    follow: { user: name, target: name, most: Type.Optional(Count) },
    unfollow: { user: name, target: name },
    trim: { floor: Offset, most: Count },
  };
}

/** Whether a map is a command of one kind. */
interface Check {
  validator: Validator;
  /** All that it may have. In a set, and not the schema's business: that would make a list of every command's fields. */
  fields: ReadonlySet<string>;
}

interface Validator {
  Check(value: unknown): boolean;
  Errors(value: unknown): Iterable<{ instancePath: string; message: string }>;
}

type Checks = ReadonlyMap<string, Check>;

function checksOf(fields: { [op: string]: TProperties }): Checks {
  const checks = new Map<string, Check>();
  for (const [op, properties] of Object.entries(fields)) {
    const schema = { op: Type.Literal(op), at: Time, ...properties };
    checks.set(op, { validator: Compile(Type.Object(schema)), fields: new Set(Object.keys(schema)) });
  }
  return checks;
}

const levelOne = fieldsOf(Given);
const levelTwo = fieldsOf(NameSchema);

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
  const { validator, fields } = check;
  if (!validator.Check(command)) {
    const [fault] = validator.Errors(command);
    return `${op}${fault?.instancePath}: ${fault?.message}`;
  }
  for (const field in command as object)
    if (!fields.has(field)) return `${op}/${field}: there is no such field`;
  return unfitText(command as Command);
}

/** What is wrong with a text that becomes part of a key of LMDB. Here and not in the schemas, which would count characters: this is done for every
 *  command, twice. */
function unfitText(command: Command): string | undefined {
  if (command.op === "trim" || command.op === "level") return undefined;
  if (!isFit(command.user)) return unfit(command, "user");
  switch (command.op) {
    case "follow":
    case "unfollow":
      return isFit(command.target) ? undefined : unfit(command, "target");
    case "post":
      if (command.key !== undefined && command.key.length > maxUnits)
        return `post/key: ${maxUnits} characters at most`;
      if (!command.mentions.every(isFit)) return unfit(command, "mentions");
      return command.tags.every(isFit) ? undefined : unfit(command, "tags");
    default:
      return undefined;
  }
}

function unfit({ op }: Command, field: string): string {
  return `${op}/${field}: a name has 1 to ${maxUnits} characters, none of them U+0000`;
}

function isFit(name: Name): boolean {
  return typeof name === "string" ? isFitText(name) : isFitText(name[0]) && isFitText(name[1]);
}

function isFitText(text: string): boolean {
  return text.length > 0 && text.length <= maxUnits && !text.includes("\u0000");
}
