/* Loading: a result file, read and checked.
 *
 * Files come from other runs, other versions and other hands: each is checked as a whole, and what is wrong is said with
 * its file and its place in it. Fields that are not known here are let be, so that the shape can grow. */

import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";

import { readTextSync } from "../../clients/cli/lines.ts";
import { type RunResult, resultVersion } from "./result.ts";

/** A file that is no result which can be read here; the message names the file, the place and the mend. */
export class ResultError extends Error {
  override readonly name = "ResultError";
}

const NumberOrMore = Type.Number({ minimum: 0 });
const Numbers = Type.Array(NumberOrMore);
const Texts = Type.Array(Type.String());

const Latency = Type.Object({
  p50: NumberOrMore,
  p90: NumberOrMore,
  p99: NumberOrMore,
  p999: NumberOrMore,
  max: NumberOrMore,
  count: NumberOrMore,
  corrected: Type.Boolean(),
  curve: Type.Array(Type.Tuple([Type.Number({ minimum: 0, maximum: 100 }), NumberOrMore])),
});

const Row = Type.Object({
  workload: Type.String(),
  name: Type.String(),
  target: Type.String(),
  parameters: Type.Record(Type.String(), Type.Union([Type.Number(), Type.String()])),
  seconds: NumberOrMore,
  deliveries: Type.Optional(NumberOrMore),
  publishes: Type.Optional(NumberOrMore),
  cpu: Type.Optional(Type.Object({ userUs: NumberOrMore, systemUs: NumberOrMore, share: NumberOrMore })),
  baseline: Type.Optional(Type.Object({ name: Type.String(), cpuUs: Type.Number({ exclusiveMinimum: 0 }) })),
  wireBytes: Type.Optional(NumberOrMore),
  latency: Type.Optional(Latency),
  memory: Type.Optional(
    Type.Object({ rssBytes: NumberOrMore, bytesPerSession: Type.Optional(Type.Number()) }),
  ),
  loopDelay: Type.Optional(Type.Object({ p50: NumberOrMore, p99: NumberOrMore, max: NumberOrMore })),
  series: Type.Optional(
    Type.Object({
      at: Numbers,
      deliveriesPerSecond: Numbers,
      publishesPerSecond: Type.Optional(Numbers),
      p50: Type.Optional(Numbers),
      p99: Type.Optional(Numbers),
      rssBytes: Type.Optional(Numbers),
      reconnects100Ms: Type.Optional(Numbers),
    }),
  ),
  marks: Type.Optional(Type.Array(Type.Object({ at: NumberOrMore, label: Type.String() }))),
  measures: Type.Optional(
    Type.Array(
      Type.Object({
        name: Type.String(),
        value: Type.Number(),
        unit: Type.String(),
        better: Type.Optional(Type.Union([Type.Literal("more"), Type.Literal("less")])),
      }),
    ),
  ),
  load: Type.Object({
    processes: NumberOrMore,
    cpuShare: NumberOrMore,
    isBottleneck: Type.Boolean(),
  }),
  notes: Texts,
  goals: Type.Optional(
    Type.Array(
      Type.Object({
        what: Type.String(),
        measured: Type.Number(),
        atMost: Type.Optional(Type.Number()),
        atLeast: Type.Optional(Type.Number()),
        unit: Type.String(),
      }),
    ),
  ),
});

const Result = Type.Object({
  version: Type.Literal(resultVersion),
  command: Type.String(),
  workload: Type.String(),
  at: Type.String(),
  seconds: NumberOrMore,
  whalesong: Type.String(),
  machine: Type.Object({
    cpu: Type.String(),
    cores: NumberOrMore,
    memoryGib: NumberOrMore,
    system: Type.String(),
    node: Type.String(),
    fileSystem: Type.String(),
    openFiles: NumberOrMore,
    loadBefore: NumberOrMore,
    broker: Type.Union([Type.Literal("compiled"), Type.Literal("from sources")]),
  }),
  rows: Type.Array(Row),
  notes: Texts,
});

interface Validator {
  Check(value: unknown): value is Static<typeof Result>;
  Errors(value: unknown): Iterable<{ instancePath: string; message: string }>;
}
const validator: Validator = Compile(Result) as unknown as Validator;

/** Reads a result file. @throws ResultError */
export function loadResult(file: string): RunResult {
  let value: unknown;
  try {
    value = JSON.parse(readTextSync(file));
  } catch (cause) {
    throw new ResultError(`${file}: cannot be read as JSON: ${(cause as Error).message}`, { cause });
  }
  return checkResult(value, file);
}

/** `from` names where the value comes from. @throws ResultError */
export function checkResult(value: unknown, from: string): RunResult {
  const version = (value as { version?: unknown } | null)?.version;
  if (typeof version !== "number") {
    throw new ResultError(
      `${from}: this is no result of the harness; \`--json FILE\` of a workload makes one`,
    );
  }
  if (version !== resultVersion) {
    throw new ResultError(
      `${from}: version ${version} of the result format; this harness reads ${resultVersion}: measure again, or read it with the harness that wrote it`,
    );
  }
  if (!validator.Check(value)) {
    const [fault] = validator.Errors(value);
    throw new ResultError(`${from}: ${placeOf(fault!.instancePath)}: ${fault!.message}`);
  }
  for (const [i, { series }] of value.rows.entries()) {
    if (series === undefined) continue;
    const uneven = Object.entries(series).find(([, values]) => values.length !== series.at.length);
    if (uneven !== undefined) {
      throw new ResultError(
        `${from}: rows[${i}].series.${uneven[0]}: must have ${series.at.length} values, as \`at\` has; it has ${uneven[1].length}`,
      );
    }
  }
  return value;
}

/** A JSON pointer as it would be written in code: rows[2].cpu.userUs. */
function placeOf(pointer: string): string {
  const place = pointer.replaceAll(/\/(\d+)/g, "[$1]").replaceAll("/", ".");
  return place === "" ? "the result" : place.replace(/^\./, "");
}
