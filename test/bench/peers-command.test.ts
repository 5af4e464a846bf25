/* `bench peers`: our broker and peers in turns with the baseline, told in one table. Small sizes: how fast anyone is, is
 * not asked here. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { test } from "tap";

import { Broker } from "../../broker/index.ts";
import { fanOutGoal } from "../../bench/baseline/goals.ts";
import { chooseBaseline, writeLoop } from "../../bench/baseline/index.ts";
import { measureInTurns } from "../../bench/baseline/turns.ts";
import { startSite } from "../../bench/commands/workload-command.ts";
import { targetOf } from "../../bench/peers/peer.ts";
import { comparisonTable } from "../../bench/peers/table.ts";
import { wsLoop } from "../../bench/peers/ws-loop.ts";
import { measureWireBytes } from "../../bench/peers/wire-bytes.ts";
import { ratioOf } from "../../bench/report/figures.ts";
import type { Row, RunResult } from "../../bench/report/result.ts";
import { Run } from "../../bench/run.ts";
import type { Target } from "../../bench/targets/target.ts";
import { openWhale } from "../../bench/workloads/whale.ts";
import type { OpenedWorkload, Site } from "../../bench/workloads/workload.ts";
import { nodeArgs } from "../program.ts";

const payloadBytes = 200;

void test("peers are measured beside our broker, each held against the baseline", async (t) => {
  const folder = t.testdir({ data: {} });
  const file = join(folder, "result.json");
  const size = "--scale 0.02 --seconds 0.3 --turns 1 --only ws --parts whale-1000,idle".split(" ");
  const data = join(folder, "data");
  const { status, stdout, stderr } = await bench("peers", ...size, "--json", file, "--data", data);
  t.equal(status, 0, stderr);
  const { rows, notes } = JSON.parse(readFileSync(file, "utf8")) as RunResult;
  const targets = ["whalesong", "ws loop"];
  const closed = rows.filter(({ baseline }) => baseline !== undefined);
  for (const target of targets) {
    const own = rows.filter((row) => row.target.startsWith(target));
    t.strictSame(
      own.map(({ workload, parameters }) => [
        workload,
        parameters["inFlight"] ?? parameters["pacedPerSecond"],
      ]),
      [
        ["whale", 1],
        ["whale", 32],
        ["whale", 50_000],
        ["idle", undefined],
      ],
      `${target} was measured everywhere`,
    );
    for (const row of own.slice(0, -1)) {
      t.ok((row.deliveries ?? 0) > 0, `${row.name} was delivered`);
      t.ok(row.baseline !== undefined, `${row.name} has its baseline`);
    }
    t.type(own.at(-1)?.memory?.bytesPerSession, "number", "an idle session has its bytes");
  }
  const least = rows.filter(({ target }) => !targets.some((each) => target.startsWith(each)));
  t.strictSame(
    least.map(({ parameters }) => parameters["online"]),
    [20],
    "the baseline has as many sockets",
  );
  t.strictSame([...new Set(closed.map(({ baseline }) => baseline?.name))], [least[0]?.target]);
  t.match(notes.join("\n"), /Bytes on the wire for a post of 200 to one reader: whalesong \d+, ws loop 204/);
  t.match(stdout, /\| whale, 20 online, 1 in flight +\| +\d+\.\d\d \| +\d+\.\d\d \|/);
  t.strictSame(readdirSync(data), [], "nothing of the run is left behind");
});

void test("a peer that does not exist is refused with those that do", async (t) => {
  const { status, stderr } = await bench("peers", "--only", "ws,kafka");
  t.not(status, 0);
  t.match(stderr, /there is no kafka; there are redis, nchan, ws, nats, mosquitto, socket\.io/);
});

void test("peers are not measured beside a broker that runs elsewhere", async (t) => {
  const broker = await Broker.start({ port: 0, data: t.testdir(), logLevel: "silent" });
  const { status, stderr } = await bench("peers", "--url", broker.url, "--only", "ws");
  await broker.stop(0);
  t.equal(status, 1);
  t.match(stderr, /peers are measured beside a broker of our own: leave --url/);
});

void test("who breaks down is out, is told, and the others go on", async (t) => {
  const run = newRun();
  t.teardown(() => run.release());
  const failing = { ...wsLoop, prepare: endingSoon };
  const least = await startSite(run, chooseBaseline({ payloadBytes }));
  const sites = [
    await startSite(run, writeLoop({ payloadBytes })),
    await startSite(run, targetOf(failing, "0")),
  ];
  const open = (site: Site): Promise<OpenedWorkload> =>
    openWhale(site, {
      online: 10,
      inFlight: [1, 4],
      pacedPerSecond: undefined,
      seconds: 0.4,
      payloadBytes,
      processes: 1,
    });
  const rows = await measureInTurns({ count: 3, baseline: least, sites, openBaseline: open, open });
  t.strictSame(
    rows.map(({ target, parameters }) => [target.split(" ")[0], parameters["inFlight"]]),
    [
      ["C", 1],
      ["Node.js", 1],
      ["ws", 1],
      ["Node.js", 4],
      ["ws", 4],
    ],
  );
  const broken = rows.filter((row) =>
    row.notes.some((each) => /^ws loop breaks down: (reader|publisher) /.test(each)),
  );
  t.ok(broken.length > 0);
  for (const row of broken) t.equal(row.cpu, undefined);
  for (const row of rows.filter(({ target }) => target.startsWith("Node.js"))) {
    t.ok((ratioOf(row) ?? 0) > 0);
    t.match(row.notes.at(-1), /^The ratios of its turns: \d+\.\d\d, \d+\.\d\d, \d+\.\d\d\.$/);
  }
  t.ok(comparisonTable(rows).join("\n").includes("breaks down"));
});

void test("the bytes on the wire are the payload's and those around it", async (t) => {
  const run = newRun();
  t.teardown(() => run.release());
  t.equal(await measureWireBytes(run, writeLoop({ payloadBytes }), payloadBytes), payloadBytes);
  const ws: Target = targetOf(wsLoop, "0");
  t.equal(await measureWireBytes(run, ws, payloadBytes), payloadBytes + 4, "a WebSocket frame's header");
  t.equal(await measureWireBytes(run, ws, 100), 100 + 2);
});

void test("the comparison has targets as columns and what was measured as lines", (t) => {
  const paced = { name: "10 online, 5 deliveries/s", parameters: { pacedPerSecond: 5 }, cpu, baseline };
  const latency = { p50: 1, p90: 2, p99: 3.456, p999: 4, max: 5, count: 9, corrected: true, curve: [] };
  const idle = { workload: "idle", parameters: { sessions: 1_000 } };
  const table = comparisonTable([
    rowAt("C", { cpu }),
    rowAt("ours", { cpu, baseline }),
    rowAt("theirs", {}),
    rowAt("ours", { ...paced, latency }),
    rowAt("ours", { ...idle, name: "following 100", memory: { rssBytes: 1, bytesPerSession: 8_765 } }),
    rowAt("theirs", { ...idle, name: "following 1", memory: { rssBytes: 1, bytesPerSession: 432 } }),
  ]);
  t.strictSame(table, [
    "|                                             |  ours |      theirs |",
    "| ------------------------------------------- | ----: | ----------: |",
    "| whale, 10 online, 1 in flight               |  1.50 | breaks down |",
    "| whale, 10 online, 5 deliveries/s: p99 in ms |  3.46 |             |",
    "| bytes for an idle session, of 1,000         | 8,765 |         432 |",
  ]);
  t.strictSame(comparisonTable([rowAt("C", { cpu })]), [], "nothing was compared");
  t.end();
});

void test("a row of ours has the goal of its place, and rows elsewhere have none", (t) => {
  const row = (workload: string, online: number, inFlight: number): Row =>
    rowAt("whalesong", { workload, parameters: { online, inFlight }, cpu, baseline });
  t.match(fanOutGoal(row("whale", 1_000, 32)), { measured: 1.5, atMost: 0.07, unit: "×" });
  t.match(fanOutGoal(row("shoal", 2_000, 16)), { atMost: 1.3 });
  t.equal(fanOutGoal(row("whale", 100, 32)), undefined);
  t.equal(
    fanOutGoal(rowAt("whalesong", { parameters: { online: 1_000, inFlight: 1 }, baseline })),
    undefined,
  );
  t.end();
});

const cpu = { userUs: 1, systemUs: 2, share: 0.5 };
const baseline = { name: "C", cpuUs: 2 };

function rowAt(target: string, given: Partial<Row>): Row {
  return {
    workload: "whale",
    name: "10 online, 1 in flight",
    target,
    parameters: { online: 10, inFlight: 1 },
    seconds: 1,
    load: { processes: 1, cpuShare: 0.5, isBottleneck: false },
    notes: [],
    ...given,
  };
}

function newRun(): Run {
  const folder = mkdtempSync(join(tmpdir(), "whalesong-peers-"));
  const { signal } = new AbortController();
  return new Run({ folder, scale: 1, profiles: undefined, signal });
}

/** A server that is there for two seconds, and three turns of two rounds take longer. */
function endingSoon(where: { folder: string; port: number }): { file: string; args: string[] } {
  const { file, args } = wsLoop.prepare(where);
  return { file: "timeout", args: ["2", file, ...args] };
}

async function bench(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [...nodeArgs("bench/main"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [status] = (await once(child, "close")) as [number];
  return { status, stdout, stderr };
}
