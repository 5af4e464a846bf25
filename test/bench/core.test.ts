/* The harness measures all that `core` promises, and says so in a table and in JSON. A hundredth of every size: how fast
 * the broker is, is not asked here. */

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { test } from "tap";

import type { Report } from "../../bench/core/report.ts";
import { bench } from "./harness.ts";

const allParts = ["lone", "posts", "fanout", "page", "resume", "memory"];

function distinct(names: string[]): string[] {
  return [...new Set(names)];
}

void test("core measures every figure, with its target and who was busy", async (t) => {
  const folder = t.testdir({ data: {} });
  const file = join(folder, "report.json");
  const data = join(folder, "data");
  const { status, stdout, stderr } = await bench("core", "--scale", "0.01", "--json", file, "--data", data);
  t.equal(status, 0, stderr);
  const report = JSON.parse(readFileSync(file, "utf8")) as Report;

  t.strictSame(distinct(report.figures.map(({ part }) => part)), allParts);
  for (const { name, value, target, reached, loadCpu, brokerCpu } of report.figures) {
    t.ok(Number.isFinite(value), `${name} is a number`);
    t.ok(Number.isFinite(loadCpu) && loadCpu > 0, `${name} says how busy the load was`);
    t.ok(Number.isFinite(brokerCpu) && brokerCpu > 0, `${name} says how busy the broker was`);
    t.equal(reached === undefined, target === undefined, `${name} is judged when it has a target`);
  }
  const targets = report.figures.filter(({ target }) => target !== undefined).map(({ part }) => part);
  t.strictSame(distinct(targets), allParts);
  t.match(report.machine, { cpu: /./, cores: Number, node: process.version, fileSystem: /./ });

  const rows = stdout.split("\n").filter((line) => line.startsWith("| "));
  t.equal(rows.length, report.figures.length + 2, "the table has a heading and a row for each figure");
  t.equal(new Set(rows.map((row) => row.length)).size, 1, "its columns are aligned");
  for (const [i, { name }] of report.figures.entries())
    t.ok(rows[i + 2]?.includes(name), `${name} has its row`);
  t.strictSame(readdirSync(data), [], "nothing of the run is left behind");
});

void test("--only measures what it names, in that order", async (t) => {
  const folder = t.testdir({ data: {} });
  const file = join(folder, "report.json");
  const args = ["--scale", "0.001", "--only", "posts,lone", "--json", file, "--data", join(folder, "data")];
  const { status, stderr } = await bench("core", ...args);
  t.equal(status, 0, stderr);
  const { figures } = JSON.parse(readFileSync(file, "utf8")) as Report;
  t.strictSame(
    figures.map(({ part }) => part),
    ["posts", "posts", "lone", "lone"],
  );
});

void test("a part that does not exist is refused with those that do", async (t) => {
  const { status, stderr } = await bench("core", "--only", "lone,longest");
  t.equal(status, 2);
  t.match(stderr, /there is no longest; there are lone, posts, fanout, page, resume, memory/);
});
