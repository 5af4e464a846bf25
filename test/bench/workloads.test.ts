/* Workloads of posts against a broker that runs already, at a tiny size: the counts are right, the result has its shape. How fast
 * the broker is, is not asked here. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import tap from "tap";

import { startBroker } from "../cli/broker.ts";
import { checkRow, measure } from "./harness.ts";

const broker = await startBroker(tap);
const folder = tap.testdir({});
const url = broker.url.replace(/^http/, "ws");
const here = ["--url", url, "--seconds", "0.3"];

await tap.test("shoal: closed loops and paced; each post reaches all who follow its author", async (t) => {
  const sizes = [
    "--authors",
    "20",
    "--online",
    "30",
    "--follows",
    "10",
    "--in-flight",
    "1,8",
    "--paced",
    "3000",
  ];
  const { result, stdout } = await measure(folder, "shoal", ...here, ...sizes);
  t.strictSame(
    result.rows.map(({ name }) => name),
    ["1 in flight", "8 in flight", "3,000 deliveries/s"],
  );
  for (const row of result.rows) {
    checkRow(t, row, "shoal");
    t.ok(row.deliveries! > 0 && row.publishes! > 0);
    t.equal(row.latency?.count, row.deliveries, "each delivery is timed");
    t.equal(row.latency?.corrected, row.name.includes("deliveries/s"), "paced rounds are corrected");
    t.ok(stdout.includes(`| ${row.name} `), "it has its row in the table");
  }
});

await tap.test("load processes share readers, and tell each other what is complete", async (t) => {
  const sizes = ["--online", "25", "--in-flight", "1,4", "--paced", "1000", "--loads", "3"];
  const { result } = await measure(folder, "whale", ...here, ...sizes);
  for (const row of result.rows) {
    checkRow(t, row, "whale");
    t.equal(row.load.processes, 3);
    t.equal(row.deliveries, row.publishes! * 25, "every post reaches every follower");
  }
});

await tap.test("mentions: all of it comes to each session of the one user", async (t) => {
  const sizes = ["--authors", "50", "--sessions", "3", "--in-flight", "8", "--paced", "900"];
  const { result } = await measure(folder, "mentions", ...here, ...sizes);
  t.equal(result.rows.length, 2);
  for (const row of result.rows) {
    checkRow(t, row, "mentions");
    t.equal(row.deliveries, row.publishes! * 3);
  }
});

await tap.test("ingest: every post is answered", async (t) => {
  const { result } = await measure(folder, "ingest", ...here, "--connections", "6", "--in-flight", "1,4");
  t.equal(result.rows.length, 2);
  for (const row of result.rows) {
    checkRow(t, row, "ingest");
    t.equal(row.deliveries, undefined);
    t.equal(row.latency?.count, row.publishes, "each answer is timed");
  }
  const goals = result.rows.flatMap((row) => row.goals ?? []);
  t.equal(goals.length, 1, "the better round is held against the goal");
});

await tap.test("graph: a made one, with offline followers that grow", async (t) => {
  const sizes = ["--users", "200", "--online", "20", "--offline", "10,50", "--seed", "7"];
  const { result } = await measure(folder, "graph", ...here, ...sizes);
  t.strictSame(
    result.rows.map(({ parameters }) => parameters["offline"]),
    [10, 50],
  );
  for (const row of result.rows) {
    checkRow(t, row, "graph");
    t.ok(row.deliveries! > 0);
  }
  t.ok(
    result.notes.some((sentence) =>
      /200 users and [78],\d+ follows: followers mean .*, median 1,/.test(sentence),
    ),
    `it says what the graph is: ${result.notes.join(" ")}`,
  );
});

await tap.test("graph: one from a file of interactions", async (t) => {
  const file = join(folder, "interactions.txt");
  writeFileSync(file, "a b 1 RT\nc b 2 MT\nc a 3 RE\nd b 4 RT\n");
  const { result } = await measure(
    folder,
    "graph",
    ...here,
    "--edges",
    file,
    "--online",
    "3",
    "--offline",
    "5",
  );
  t.match(result.rows[0]!.parameters, { users: 4, follows: 4, online: 3 });
});
