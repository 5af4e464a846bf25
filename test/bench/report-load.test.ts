/* Result files: read whole, or refused with the place that is wrong. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import tap from "tap";

import { checkResult, loadResult } from "../../bench/report/load.ts";
import { minimalResult, richResult } from "./report-examples.ts";

await tap.test("what was written is read again", (t) => {
  const file = join(t.testdir(), "result.json");
  for (const result of [richResult(), minimalResult()]) {
    writeFileSync(file, `\ufeff${JSON.stringify(result)}`);
    t.strictSame(loadResult(file), result);
  }
  t.end();
});

await tap.test("fields of a later harness are let be", (t) => {
  const result = { ...minimalResult(), later: true };
  t.strictSame(checkResult(result, "a.json"), result);
  t.end();
});

await tap.test("a file that is not there, or no JSON, is named", (t) => {
  const folder = t.testdir({ "half.json": `{"version":` });
  t.throws(() => loadResult(join(folder, "none.json")), {
    name: "ResultError",
    message: /none\.json: cannot be read as JSON: ENOENT/,
  });
  t.throws(() => loadResult(join(folder, "half.json")), {
    name: "ResultError",
    message: /half\.json: cannot be read as JSON: /,
  });
  t.end();
});

await tap.test("JSON of something else, and of another version, is refused as such", (t) => {
  for (const other of [null, 7, [], {}, { version: "0.1.0", figures: [] }])
    t.throws(() => checkResult(other, "a.json"), {
      message: /^a\.json: this is no result of the harness; `--json FILE`/,
    });
  t.throws(() => checkResult({ ...minimalResult(), version: 2 }, "a.json"), {
    message:
      "a.json: version 2 of the result format; this harness reads 1: measure again, or read it with the harness that wrote it",
  });
  t.end();
});

await tap.test("a wrong field is named by its place", (t) => {
  const cases: [change: (rows: Record<string, unknown>[]) => void, message: RegExp][] = [
    [(rows) => delete rows[0]!["name"], /^a\.json: rows\[0\]: must have required properties name$/],
    [
      (rows) => Object.assign(rows[2]!["cpu"] as object, { userUs: "1.2" }),
      /^a\.json: rows\[2\]\.cpu\.userUs: must be number$/,
    ],
    [
      (rows) => Object.assign(rows[1]!["latency"] as object, { curve: [[101, 3]] }),
      /^a\.json: rows\[1\]\.latency\.curve\[0\]\[0\]: must be <= 100$/,
    ],
    [
      (rows) => Object.assign(rows[1]!["baseline"] as object, { cpuUs: 0 }),
      /^a\.json: rows\[1\]\.baseline\.cpuUs: must be > 0$/,
    ],
    [
      (rows) => Object.assign(rows[3]!["series"] as object, { p99: [1] }),
      /^a\.json: rows\[3\]\.series\.p99: must have 20 values, as `at` has; it has 1$/,
    ],
  ];
  for (const [change, message] of cases) {
    const result = richResult();
    change(result.rows as unknown as Record<string, unknown>[]);
    t.throws(() => checkResult(result, "a.json"), { name: "ResultError", message });
  }
  t.end();
});
