/* Prometheus: it takes the files to copy; what they ask for is what nodes tell; each alert fires when it should and is quiet otherwise;
 * and the runbook says what to do about it. */

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import tap, { type Test } from "tap";
import { parse } from "yaml";

import { findProgram } from "../../bench/targets/programs.ts";
import { Cluster } from "./broker-process.ts";
import { NatsServers, natsTest } from "./nats-server.ts";

const folder = fileURLToPath(new URL("../../broker/deploy", import.meta.url));
const rules = (
  parse(readFileSync(join(folder, "alerts.yml"), "utf8")) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);
const node = (n: number): string => `job="whalesong", instance="whalesong-${n}:5250"`;

interface Rule {
  alert: string;
  expr: string;
}

/** What Prometheus sees of three nodes that are well, in a sample every 15 s. */
const wellSeries: Record<string, string> = {
  up: "1x120",
  whalesong_cluster_halted: "0x120",
  whalesong_cluster_taking_commands: "1x120",
  whalesong_cluster_log_last_sequence: "5000+100x120",
  whalesong_cluster_log_applied_sequence: "4990+100x120",
  // By promtool's clock the trial is in the first minutes of 1970.
  whalesong_cluster_snapshot_timestamp_seconds: "0x120",
  whalesong_cluster_snapshot_sequence: "0x120",
  whalesong_fanout_pending: "10x120",
  'whalesong_refusals_total|code="storage_full"': "0x120",
  'whalesong_refusals_total|code="rate_limited"': "0+50x120",
  whalesong_faults_total: "3x120",
  nodejs_eventloop_lag_p99_seconds: "0.02x120",
};

/** What the second node, or all of them, tell when something is wrong, and which alerts that is. */
const troubles: [what: string, change: Record<string, string>, who: "second" | "all", alerts: string[]][] = [
  ["all is well", {}, "second", []],
  ["a node is down", { up: "1x10 0x110" }, "second", ["WhalesongNodeDown"]],
  ["all nodes are down", { up: "1x10 0x110" }, "all", ["WhalesongDown", "WhalesongNodeDown"]],
  [
    "the stream was replaced",
    { whalesong_cluster_halted: "0x10 1x110", whalesong_cluster_taking_commands: "1x10 0x110" },
    "second",
    ["WhalesongHalted", "WhalesongRefusesWrites"],
  ],
  ["NATS is away", { whalesong_cluster_taking_commands: "1x10 0x110" }, "second", ["WhalesongRefusesWrites"]],
  ["a node lags", { whalesong_cluster_log_applied_sequence: "4990+10x120" }, "second", ["WhalesongBehind"]],
  ["no node is the keeper", { whalesong_cluster_keeper: "1x10 0x110" }, "second", ["WhalesongNoKeeper"]],
  [
    "snapshots fail",
    { whalesong_cluster_snapshot_timestamp_seconds: "-20000x120" },
    "all",
    ["WhalesongSnapshotOld"],
  ],
  ["fan-out lags", { whalesong_fanout_pending: "10x10 20000x110" }, "second", ["WhalesongFanOutBehind"]],
  [
    "a disk is full",
    { 'whalesong_refusals_total|code="storage_full"': "0x10 0+5x110" },
    "second",
    ["WhalesongStorageFull"],
  ],
  ["a fault", { whalesong_faults_total: "3x80 4x40" }, "second", ["WhalesongFault"]],
  [
    "a slow event loop",
    { nodejs_eventloop_lag_p99_seconds: "0.02x10 0.9x110" },
    "second",
    ["WhalesongEventLoopSlow"],
  ],
];

await tap.test("Prometheus takes the files, and each alert fires when it should", async (t) => {
  t.same(
    new Set(troubles.flatMap(([, , , alerts]) => alerts)),
    new Set(rules.map(({ alert }) => alert)),
    "each alert is tried",
  );
  const promtool = findProgram("promtool");
  if (promtool === undefined) return skip(t, "promtool is not installed: apt-get install prometheus");
  const path = await mkdtemp(join(tmpdir(), "whalesong-alerts-"));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  for (const file of ["prometheus.yml", "alerts.yml"]) await cp(join(folder, file), join(path, file));
  const tool = (...args: string[]): { status: number | null; said: string } => {
    const { status, stdout, stderr } = spawnSync(promtool, args, { encoding: "utf8" });
    return { status, said: `${stdout}${stderr}` };
  };
  const checked = tool("check", "config", join(path, "prometheus.yml"));
  t.equal(checked.status, 0, checked.said);

  for (const [what, change, who, alerts] of troubles) {
    const file = join(path, "trial.yml");
    writeFileSync(file, JSON.stringify(trial(change, who, alerts))); // JSON is YAML, too
    const tried = tool("test", "rules", file);
    t.equal(
      tried.status,
      0,
      `${what}: ${alerts.join(", ") || "no alert"}${tried.status === 0 ? "" : `: ${tried.said}`}`,
    );
  }
});

/** A unit test of promtool: with what nodes tell, just these alerts fire after 25 minutes. */
function trial(change: Record<string, string>, who: "second" | "all", alerts: readonly string[]): object {
  const series = [1, 2, 3].flatMap((n) => {
    const well = { ...wellSeries, whalesong_cluster_keeper: n === 2 ? "1x120" : "0x120" };
    const told = n === 2 || who === "all" ? { ...well, ...change } : well;
    return Object.entries(told).map(([key, values]) => {
      const [name, labels] = key.split("|");
      return { series: `${name}{${[node(n), labels].filter(Boolean).join(", ")}}`, values };
    });
  });
  const expected = alerts.map((alertname) => ({ labels: `{alertname="${alertname}"}`, value: 1 }));
  return {
    rule_files: ["alerts.yml"],
    evaluation_interval: "15s",
    tests: [
      {
        interval: "15s",
        input_series: series,
        promql_expr_test: [
          {
            expr: 'count by (alertname) (max by (alertname, severity) (ALERTS{alertstate="firing"}))',
            eval_time: "25m",
            exp_samples: expected,
          },
        ],
      },
    ],
  };
}

await natsTest(tap, "a node tells all that the alerts ask for", { timeoutMs: 120_000 }, async (t) => {
  const nats = await NatsServers.for(t);
  const cluster = await Cluster.for(t, { nats: nats.urls, nodes: 1 });
  const metrics = await (await fetch(`${cluster.urls[0]}/metrics`)).text();
  for (const { alert, expr } of rules) {
    for (const [name] of expr.matchAll(/\b(?:whalesong|nodejs|process)_\w+/g))
      t.match(metrics, new RegExp(`^# TYPE ${name} `, "m"), `${alert}: ${name}`);
  }
});

await tap.test("the runbook says what to do about each", async (t) => {
  const runbook = readFileSync(join(folder, "../RUNBOOK.md"), "utf8");
  const told = [...runbook.matchAll(/^\| `(Whalesong\w+)` +\|/gm)].map(([, name]) => name);
  t.same(
    told,
    rules.map(({ alert }) => alert),
  );
});

function skip(t: Test, message: string): void {
  if (process.env["CI"] === "true") t.fail(message);
  else t.pass(`skipped: ${message}`, { skip: message });
}
