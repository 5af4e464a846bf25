/* Workloads of several nodes, which they start themselves with a real nats-server, at a tiny size: what is measured is all there, and
 * nobody misses anything. How fast a cluster is, is not asked here. */

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import tap from "tap";

import { processTree } from "../../bench/targets/processes.ts";
import { requireProgram } from "../../bench/targets/programs.ts";
import { startBroker } from "../cli/broker.ts";
import { natsTest } from "../cluster/nats-server.ts";
import { bench, checkRow, measure } from "./harness.ts";

await tap.test("a program that is not there is named, with what installs it", (t) => {
  t.throws(
    () => requireProgram("gnats-server", { for: "a cluster", install: "apt-get install gnats-server" }),
    {
      message: "a cluster needs gnats-server, which is not installed: apt-get install gnats-server",
    },
  );
  t.end();
});

await tap.test("a broker that runs already is no cluster of the harness's own", async (t) => {
  const broker = await startBroker(t);
  for (const workload of ["cluster", "rolling"]) {
    const { status, stderr } = await bench(workload, "--url", broker.url);
    t.equal(status, 1);
    t.match(stderr, /the nodes of a cluster are the harness's own: leave --url and WHALESONG_URL out/);
  }
});

await natsTest(tap, "cluster: every row of one node and of two", { timeoutMs: 180_000 }, async (t) => {
  const folder = t.testdir({});
  const before = processTree([process.pid]).length;
  const sizes = ["--online", "200", "--in-flight", "2", "--users", "1000", "--behind", "20000"];
  const { result, stdout } = await measure(folder, "cluster", "--quick", "--nodes", "1,2", ...sizes);
  t.strictSame(
    result.rows.map(({ name }) => name),
    [
      "one broker, no NATS: commands",
      "1 node: whale, 20 online, 2 in flight",
      "1 node: graph, 50 online, 100 offline followers",
      "1 node: light load, at the node",
      "1 node: commands, all at node 1",
      "2 nodes: whale, 20 online, 2 in flight",
      "2 nodes: graph, 50 online, 100 offline followers",
      "2 nodes: light load, published at node 1, read at node 2",
      "2 nodes: commands, all at node 1",
      "2 nodes: commands, at all nodes",
      "2 nodes: one that was away, 2,000 entries behind",
    ],
  );
  for (const row of result.rows) {
    if (row.name.includes("was away")) continue;
    checkRow(t, row, "cluster");
    const nodes = Number(row.parameters["nodes"]);
    const parts = (row.measures ?? []).map(({ name }) => name.replace(/^CPU of (.*) for a post$/, "$1"));
    const expected = Array.from({ length: nodes }, (_, i) => `node ${i + 1}`);
    t.strictSame(parts, nodes === 0 ? [] : ["nats-server", ...expected], `${row.name}: what each spends`);
    if (row.name.includes("whale")) t.equal(row.deliveries, row.publishes! * 20, "readers at all nodes");
    if (row.name.includes("commands")) t.equal(row.latency?.count, row.publishes, "each is answered");
  }
  const away = result.rows.at(-1)!;
  t.match(away.goals, [{ what: "entries caught up", atLeast: 100_000, unit: "a second" }]);
  t.equal(away.goals![0]!.measured, 2_000 / away.seconds, "all of them, from the start of its process");
  t.match(away.measures, [{ name: "CPU of the node for an entry, its start included", unit: "µs" }]);
  const across = result.rows.find(({ name }) => name.includes("read at node 2"));
  t.match(across?.goals, [{ what: "p50 from node to node", atMost: 5, unit: "ms" }]);
  t.match(stdout, /\| what +\| CPU of nats-server for a post, µs \| CPU of node 1 for a post, µs \|/);
  t.strictSame(readdirSync(folder), ["cluster.json"], "its data is gone");
  t.equal(processTree([process.pid]).length, before, "its processes are gone");
});

await natsTest(tap, "rolling: all nodes restart, nobody misses a post", { timeoutMs: 180_000 }, async (t) => {
  const folder = t.testdir({});
  const data = join(folder, "data");
  const page = join(folder, "rolling.html");
  const sizes = ["--nodes", "2", "--readers", "600", "--drain", "1"];
  const before = processTree([process.pid]).length;
  const { result } = await measure(data, "rolling", "--quick", ...sizes, "--html", page);
  const [row] = result.rows;
  checkRow(t, row!, "rolling");
  t.equal(row!.name, "2 nodes, 60 sessions");
  t.equal(row!.deliveries, row!.publishes! * 60, "every post reaches every reader");
  t.match(row!.goals, [
    { what: "posts missed, by all readers", measured: 0, atMost: 0 },
    { what: "posts seen twice, by all readers", measured: 0, atMost: 0 },
    { what: /^node 1: the middle 80 % came back over/, atLeast: 0.6 },
  ]);
  t.match(
    row!.marks?.map(({ label }) => label),
    ["node 1 drains", "node 1 is back", "node 2 drains", "node 2 is back"],
  );
  const cameBack = row!.series!.reconnects100Ms!.reduce((sum, count) => sum + count, 0);
  t.ok(cameBack >= 60, `${cameBack} sessions came back`);
  t.equal(cameBack, row!.measures?.[0]?.value, "each is in the plot");
  t.match(readFileSync(page, "utf8"), /Sessions that came back, over time/);
  t.equal(processTree([process.pid]).length, before, "its processes are gone");
});
