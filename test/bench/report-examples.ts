/* Results as the harness leaves them behind: one that tells everything, one that tells the least. */

import type { Row, RunResult } from "../../bench/report/result.ts";

const targets = [
  { name: "whalesong 0.1.0", alone: 1.21, batched: 0.06 },
  { name: "redis-server 7.0.15", alone: 1.14, batched: 0.12 },
  { name: "nats-server 2.9.10", alone: 2.2, batched: 0.25 },
  { name: "ws 8.23.0", alone: 1.53, batched: 1.53 },
];
const baseline = { name: "a C loop of send()", cpuUs: 2.7 };

export function richResult(): RunResult {
  return {
    version: 1,
    command: "npm run bench -- peers --json peers.json",
    workload: "peers",
    at: "2026-11-21T10:20:30.456Z",
    seconds: 184.2,
    whalesong: "0.1.0",
    machine: {
      cpu: "AMD EPYC",
      cores: 2,
      memoryGib: 8,
      system: "linux 6.1.0",
      node: "v20.20.2",
      fileSystem: "ext4",
      openFiles: 20_000,
      loadBefore: 0.04,
      broker: "compiled",
    },
    rows: targets.flatMap(({ name, alone, batched }) =>
      [1, 4, 32].map((inFlight) => richRow(name, inFlight, inFlight === 1 ? alone : batched)),
    ),
    notes: ["mosquitto is left out: `apt-get install mosquitto` installs it."],
  };
}

function richRow(target: string, inFlight: number, ratio: number): Row {
  const cpuUs = ratio * baseline.cpuUs;
  const p50 = inFlight * 0.9 * ratio + 2;
  const seconds = 10;
  const at = Array.from({ length: seconds * 2 }, (_, i) => (i + 1) / 2);
  const perSecond = Math.round(400_000 / (0.4 + ratio));
  return {
    workload: "whale",
    name: `1,000 online, ${inFlight} in flight`,
    target,
    parameters: { followers: 1_000, online: 1_000, inFlight, payloadBytes: 200 },
    seconds,
    deliveries: perSecond * seconds,
    publishes: (perSecond * seconds) / 1_000,
    cpu: { userUs: cpuUs * 0.3, systemUs: cpuUs * 0.7, share: 0.97 },
    baseline: { ...baseline },
    wireBytes: 369,
    latency: {
      p50,
      p90: p50 * 1.5,
      p99: p50 * 2.5,
      p999: p50 * 6,
      max: p50 * 9,
      count: perSecond * seconds,
      corrected: true,
      curve: [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 99.999, 100].map((percentile, i) => [
        percentile,
        p50 * (0.5 + (i / 8) ** 3),
      ]),
    },
    memory: { rssBytes: 190_000_000 * (1 + ratio / 10), bytesPerSession: 8_800 },
    loopDelay: { p50: 0.2, p99: 5.4, max: 11 },
    measures: [{ name: "posts kept", value: inFlight * 1_000, unit: "posts" }],
    series: {
      at,
      deliveriesPerSecond: at.map((s) => perSecond * (0.95 + 0.05 * Math.sin(s * 2 + ratio))),
      publishesPerSecond: at.map((s) => (perSecond / 1_000) * (0.95 + 0.05 * Math.sin(s * 2 + ratio))),
      p50: at.map(() => p50),
      p99: at.map((s) => p50 * (2.5 + Math.sin(s * 3))),
      rssBytes: at.map((s) => 190_000_000 * (1 + ratio / 10) + s * 1e6),
    },
    load: { processes: 1, cpuShare: 0.93, isBottleneck: target.startsWith("whalesong") },
    notes: inFlight === 32 ? ["The first round is warm-up and not counted."] : [],
    goals: target.startsWith("whalesong")
      ? [{ what: "CPU of the baseline's", measured: ratio, atMost: inFlight === 1 ? 1.25 : 0.05, unit: "×" }]
      : [],
  };
}

/** One target, several batch sizes: a plain `whale` run. */
export function ownResult(): RunResult {
  const rich = richResult();
  return {
    ...rich,
    workload: "whale",
    command: "npm run bench -- whale",
    rows: rich.rows.filter(({ target }) => target.startsWith("whalesong")),
    notes: [],
  };
}

/** What the harness can always tell, and nothing else. */
export function minimalResult(): RunResult {
  const { version, machine } = richResult();
  return {
    version,
    machine,
    command: "npm run bench -- idle",
    workload: "idle",
    at: "2026-11-21T11:00:00.000Z",
    seconds: 3,
    whalesong: "0.1.0",
    rows: [
      {
        workload: "idle",
        name: "10,000 sessions",
        target: "whalesong 0.1.0",
        parameters: { sessions: 10_000 },
        seconds: 3,
        load: { processes: 1, cpuShare: 0.1, isBottleneck: false },
        notes: [],
      },
    ],
    notes: [],
  };
}
