/* Two results side by side: matched rows, exact figures, and whatever is not alike. */

import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import tap from "tap";

import { renderComparison } from "../../bench/report/compare.ts";
import type { RunResult } from "../../bench/report/result.ts";
import { minimalResult } from "./report-examples.ts";
import { nodeArgs } from "../program.ts";

function bench(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [...nodeArgs("bench/main"), ...args], { encoding: "utf8" });
}

function before(): RunResult {
  const result = minimalResult();
  const [row] = result.rows;
  const load = { processes: 1, cpuShare: 0.5, isBottleneck: false };
  const shared = { workload: "whale", parameters: {}, seconds: 10, load, notes: [] };
  result.command = "npm run bench -- whale";
  result.workload = "whale";
  result.rows = [
    {
      ...shared,
      name: "1,000 online, 1 in flight",
      target: "whalesong 0.1.0",
      deliveries: 2_500_000,
      cpu: { userUs: 1, systemUs: 2, share: 0.9 },
      baseline: { name: "a C loop of send()", cpuUs: 2.5 },
    },
    { ...shared, name: "1,000 online, 1 in flight", target: "ws 8.23.0", deliveries: 1_000_000 },
    { ...row!, name: "10,000 sessions" },
  ];
  return result;
}

function after(): RunResult {
  const result = before();
  result.at = "2026-11-22T11:00:00.000Z";
  result.whalesong = "0.2.0";
  result.machine.cores = 4;
  const [own, peer] = result.rows;
  Object.assign(own!, {
    target: "whalesong 0.2.0",
    deliveries: 3_000_000,
    cpu: { userUs: 0.5, systemUs: 2.02, share: 0.8 },
  });
  delete own!.baseline;
  own!.memory = { rssBytes: 100_000_000 };
  result.rows = [peer!, own!, { ...peer!, name: "10,000 online, 1 in flight" }];
  return result;
}

await tap.test("each figure has before, after and ratio", (t) => {
  t.equal(
    renderComparison(before(), after()),
    `before  whale, whalesong 0.1.0, 2026-11-21T11:00:00.000Z: npm run bench -- whale
after   whale, whalesong 0.2.0, 2026-11-22T11:00:00.000Z: npm run bench -- whale

Not alike: whalesong: 0.1.0 before, 0.2.0 after.
Not alike: cores: 2 before, 4 after.

| measured                         | at                                | figure      | unit |  before |   after | ratio |        |
| -------------------------------- | --------------------------------- | ----------- | ---- | ------: | ------: | ----: | ------ |
| whale: 1,000 online, 1 in flight | whalesong 0.1.0 → whalesong 0.2.0 | deliveries  | /s   | 250,000 | 300,000 |  1.20 | better |
|                                  |                                   | CPU         | µs   |    3.00 |    2.52 |  0.84 | better |
|                                  |                                   | user        | µs   |    1.00 |   0.500 |  0.50 | better |
|                                  |                                   | system      | µs   |    2.00 |    2.02 |  1.01 |        |
|                                  |                                   | of baseline | ×    |    1.20 |       – |       |        |
|                                  |                                   | memory      | MB   |       – |     100 |       |        |
|                                  |                                   | server      | %    |    90.0 |    80.0 |  0.89 |        |
|                                  |                                   | load        | %    |    50.0 |    50.0 |  1.00 |        |
| whale: 1,000 online, 1 in flight | ws 8.23.0                         | deliveries  | /s   | 100,000 | 100,000 |  1.00 |        |
|                                  |                                   | load        | %    |    50.0 |    50.0 |  1.00 |        |

only before:
- idle: 10,000 sessions, at whalesong 0.1.0

only after:
- whale: 10,000 online, 1 in flight, at ws 8.23.0

ratio is after to before; better and worse are said where it is more than 5 % from 1.
`,
  );
  t.end();
});

await tap.test("what only some rows measure is compared under its own name and unit", (t) => {
  const [slow, quick] = [minimalResult(), minimalResult()];
  slow.rows[0]!.measures = [{ name: "catch-up", value: 50_000, unit: "entries/s", better: "more" }];
  quick.rows[0]!.measures = [
    { name: "catch-up", value: 100_000, unit: "entries/s", better: "more" },
    { name: "log", value: 3, unit: "MB" },
  ];
  const text = renderComparison(slow, quick);
  t.match(text, /\| catch-up +\| entries\/s \| 50,000 \| 100,000 \| +2\.00 \| better \|/);
  t.match(text, /\| log +\| MB +\| +– \| +3\.00 \| +\| +\|/);
  t.end();
});

await tap.test("turned round, better is worse", (t) => {
  const lines = renderComparison(after(), before()).split("\n");
  t.match(
    lines.find((line) => line.includes("| deliveries")),
    /\| {2}0\.83 \| worse {2}\|$|\| {2}1\.00 \|/,
  );
  t.match(
    lines.find((line) => line.includes("| user ")),
    /0\.500 \| +1\.00 \| +2\.00 \| worse/,
  );
  t.end();
});

await tap.test("two versions of a target on one side are not mixed up with one on the other", (t) => {
  const twice = before();
  twice.rows = [twice.rows[0]!, { ...twice.rows[0]!, target: "whalesong 0.0.9" }];
  const text = renderComparison(twice, after());
  t.notMatch(text, "→");
  t.match(text, /only before:\n.*whalesong 0\.1\.0\n.*whalesong 0\.0\.9\n/);
  t.match(
    renderComparison(twice, before()),
    /only before:\n- whale: 1,000 online, 1 in flight, at whalesong 0\.0\.9\n/,
    "one that is there exactly is matched",
  );
  t.end();
});

await tap.test("nothing in common is said, without an empty table", (t) => {
  const text = renderComparison(before(), minimalResult());
  t.match(text, /only before:\n- whale/);
  const other = minimalResult();
  other.rows[0]!.name = "20,000 sessions";
  t.notMatch(renderComparison(before(), other), /\| measured|ratio is/);
  t.end();
});

await tap.test("bench compare prints it, and writes the page", (t) => {
  const folder = t.testdir();
  const [a, b, page] = ["a.json", "b.json", "page.html"].map((name) => join(folder, name));
  writeFileSync(a!, JSON.stringify(before()));
  writeFileSync(b!, JSON.stringify(after()));
  const good = bench("compare", a!, b!, "--html", page!);
  t.equal(good.status, 0, good.stderr);
  t.equal(good.stdout, renderComparison(before(), after()));
  t.match(readFileSync(page!, "utf8"), /^<!doctype html>.*Before and after.*<\/html>\s*$/is);
  const flagged = bench("--compare", a!, b!);
  t.equal(flagged.status, 0, flagged.stderr);
  t.equal(flagged.stdout, good.stdout, "the flag is the command");
  writeFileSync(b!, "{}");
  const bad = bench("compare", a!, b!);
  t.equal(bad.status, 1);
  t.match(bad.stderr, /^bench: .*b\.json: this is no result of the harness/);
  t.end();
});
