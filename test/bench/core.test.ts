/* The harness measures all that `core` promises, and says so in a table and in JSON. A hundredth of every size: how fast
 * the broker is, is not asked here. */

import { readdirSync } from "node:fs";
import { join } from "node:path";

import { test } from "tap";

import { loadResult } from "../../bench/report/load.ts";
import type { Row } from "../../bench/report/result.ts";
import { bench } from "./harness.ts";

const allParts = ["lone", "posts", "fanout", "page", "resume", "memory"];

function partOf({ parameters }: Row): string {
  return String(parameters["part"]);
}

function distinct(names: string[]): string[] {
  return [...new Set(names)];
}

void test("core measures every figure, with its target and who was busy", async (t) => {
  const folder = t.testdir({ data: {} });
  const file = join(folder, "report.json");
  const data = join(folder, "data");
  const { status, stdout, stderr } = await bench("core", "--scale", "0.01", "--json", file, "--data", data);
  t.equal(status, 0, stderr);
  const result = loadResult(file); // checked: a result like any workload's

  t.strictSame(distinct(result.rows.map(partOf)), allParts);
  for (const { name, seconds, measures = [], goals = [], load } of result.rows) {
    t.strictSame(
      measures.map((each) => each.name),
      ["measured", "broker CPU"],
    );
    const [measured, cpu] = measures;
    t.ok(Number.isFinite(measured!.value) && seconds > 0, `${name} is a number`);
    t.ok(load.cpuShare > 0, `${name} says how busy the load was`);
    t.ok(cpu!.value > 0, `${name} says how busy the broker was`);
    for (const goal of goals) t.equal(goal.measured, measured!.value, `${name} is held against its target`);
  }
  t.strictSame(distinct(result.rows.filter(({ goals }) => goals !== undefined).map(partOf)), allParts);
  t.equal(result.rows.find(({ name }) => name.endsWith("rate"))?.measures?.[0]?.better, "more");
  t.match(result.machine, { cpu: /./, cores: Number, node: process.version, fileSystem: /./ });

  const rows = stdout.split("\n").filter((line) => line.startsWith("| "));
  t.equal(rows.length, result.rows.length + 2, "the table has a heading and a row for each figure");
  t.equal(new Set(rows.map((row) => row.length)).size, 1, "its columns are aligned");
  for (const [i, { name }] of result.rows.entries()) t.ok(rows[i + 2]?.includes(name), `${name} has its row`);
  t.strictSame(readdirSync(data), [], "nothing of the run is left behind");

  const compared = await bench("--compare", file, file);
  t.equal(compared.status, 0, compared.stderr);
  t.match(compared.stdout, /\| core: a lone publish, p50 +\| whalesong [\d.]+ +\| measured +\| ms /);
});

void test("--only measures what it names, in that order", async (t) => {
  const folder = t.testdir({ data: {} });
  const file = join(folder, "report.json");
  const args = ["--scale", "0.001", "--only", "posts,lone", "--json", file, "--data", join(folder, "data")];
  const { status, stderr } = await bench("core", ...args);
  t.equal(status, 0, stderr);
  t.strictSame(loadResult(file).rows.map(partOf), ["posts", "posts", "lone", "lone"]);
});

void test("a part that does not exist is refused with those that do", async (t) => {
  const { status, stderr } = await bench("core", "--only", "lone,longest");
  t.equal(status, 2);
  t.match(stderr, /there is no longest; there are lone, posts, fanout, page, resume, memory/);
});
