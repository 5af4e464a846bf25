/* `bench peers`: whale, shoal and idle sessions at our broker and at what a user might pick instead, in one run.
 *
 * Core for core: every server has the first core for itself, the load the others. All are held against one send() in C for
 * each socket, with as many sockets and one post in flight, measured just before. */

import { type Command, InvalidArgumentError } from "commander";

import { wholeNumber } from "../../clients/cli/command.ts";
import { fanOutGoal } from "../baseline/goals.ts";
import { aboutBaseline, chooseBaseline } from "../baseline/index.ts";
import { measureInTurns } from "../baseline/turns.ts";
import {
  type Bench,
  type WorkloadCommand,
  defaultPayloadBytes,
  startSite,
} from "../commands/workload-command.ts";
import { openFileLimit } from "../machine.ts";
import type { Goal, Row } from "../report/result.ts";
import { type Target, targetName } from "../targets/target.ts";
import { idleDefaults, measureIdle } from "../workloads/idle.ts";
import { openShoal, shoalDefaults } from "../workloads/shoal.ts";
import { openWhale } from "../workloads/whale.ts";
import type { OpenedWorkload, Site } from "../workloads/workload.ts";
import { peers } from "./index.ts";
import { type Peer, targetOf } from "./peer.ts";
import { comparisonTable } from "./table.ts";
import { measureWireBytes } from "./wire-bytes.ts";

interface PeersOptions {
  only?: Peer[];
  parts: string[];
  turns: number;
}

interface Part {
  workload: "whale" | "shoal";
  online: number;
  /** Posts in flight: a closed round for each. */
  inFlight: readonly number[];
  /** Deliveries a second of a paced round. */
  pacedPerSecond?: number;
}

const parts: Readonly<Record<string, Part>> = {
  "whale-1000": { workload: "whale", online: 1_000, inFlight: [1, 32], pacedPerSecond: 50_000 },
  "whale-10000": { workload: "whale", online: 10_000, inFlight: [1, 32] },
  shoal: { workload: "shoal", online: shoalDefaults.readers, inFlight: shoalDefaults.inFlight },
};
const idlePart = "idle";
const partNames = [...Object.keys(parts), idlePart];
/** Who must not deliver sooner than we do when paced. */
const pacedRival = "ws loop";
/** Files that a server has open beside its connections. */
const otherFiles = 256;

export const peersCommand: WorkloadCommand<PeersOptions> = {
  name: "peers",
  description: "our broker and what one might pick instead, in turns, held against one send() in C",
  configure: (command: Command) =>
    command
      .option("--only <peers>", `some of ${peers.map(({ key }) => key).join(",")} (default: all)`, parsePeers)
      .option("--parts <parts>", `some of ${partNames.join(",")}`, parseParts, partNames)
      .option("--turns <n>", "how often each is measured; the middle counts", wholeNumber(1, 99), 3),
  summarise: comparisonTable,

  async measure(bench, { only = [...peers], parts: wanted, turns }) {
    if (bench.isExternal)
      throw new Error("peers are measured beside a broker of our own: leave --url and WHALESONG_URL out");
    const { run, payloadBytes = defaultPayloadBytes } = bench;
    const baseline = chooseBaseline({ payloadBytes });
    bench.remark(aboutBaseline(baseline));
    const targets = await tryOut(bench, [bench.target, ...installed(bench, only)]);
    const rows: Row[] = [];
    for (const name of wanted) {
      const part = parts[name];
      const online = run.size(part?.online ?? idleDefaults.sessions + idleDefaults.before);
      if (online > openFileLimit() - otherFiles) {
        bench.remark(
          `${name} was left out: a process may open ${openFileLimit().toLocaleString("en")} files here; raise that (ulimit -n ${online + otherFiles}).`,
        );
      } else if (part === undefined) rows.push(...(await measureIdleSessions(bench, targets)));
      else rows.push(...(await measurePart(bench, { ...part, online }, { targets, baseline, turns })));
    }
    return rows;
  },
};

/** Those of the peers that are here. The others are named, with what installs them. */
function installed(bench: Bench, wanted: readonly Peer[]): Target[] {
  return wanted.flatMap((peer) => {
    const version = peer.findVersion();
    if (version !== undefined) return [targetOf(peer, version)];
    bench.remark(`${peer.name} was left out, since it is not installed: ${peer.install}`);
    return [];
  });
}

/** Those that work, each asked for one post. What they send for it differs; that is part of the price. */
async function tryOut(bench: Bench, targets: readonly Target[]): Promise<Target[]> {
  const { run, payloadBytes = defaultPayloadBytes } = bench;
  const working: Target[] = [];
  const told: string[] = [];
  for (const target of targets) {
    try {
      told.push(`${target.name} ${await measureWireBytes(run, target, payloadBytes)}`);
      working.push(target);
    } catch (error) {
      run.signal.throwIfAborted();
      if (target === bench.target) throw error;
      bench.remark(`${target.name} was left out, since it does not work here: ${(error as Error).message}`);
    }
  }
  bench.remark(`Bytes on the wire for a post of ${payloadBytes} to one reader: ${told.join(", ")}.`);
  return working;
}

async function measurePart(
  bench: Bench,
  part: Part,
  { targets, baseline, turns }: { targets: readonly Target[]; baseline: Target; turns: number },
): Promise<Row[]> {
  const { run } = bench;
  const least = await startSite(run, baseline);
  const sites: Site[] = [];
  for (const target of targets) sites.push(await startSite(run, target));
  const rows = await measureInTurns({
    count: turns,
    baseline: least,
    sites,
    openBaseline: (site) => openPart(bench, site, { workload: "whale", online: part.online, inFlight: [1] }),
    open: (site) => openPart(bench, site, part),
  });
  for (const { running } of [least, ...sites]) await running.stop();
  const ours = targetName(bench.target);
  for (const row of rows.filter(({ target }) => target === ours)) {
    const goal = fanOutGoal(row) ?? pacedGoal(row, rows);
    if (goal !== undefined) row.goals = [goal];
  }
  return rows;
}

function openPart(bench: Bench, site: Site, part: Part): Promise<OpenedWorkload> {
  const { run, seconds, payloadBytes = defaultPayloadBytes, processes } = bench;
  const { workload, online, inFlight, pacedPerSecond } = part;
  const shared = { inFlight, pacedPerSecond, seconds, payloadBytes, processes };
  if (workload === "whale") return openWhale(site, { ...shared, online });
  const authors = run.size(shoalDefaults.authors);
  const follows = Math.min(shoalDefaults.follows, authors);
  return openShoal(site, { ...shared, authors, readers: online, follows, publishers: 1 });
}

/** Paced, the latest of us is to be no later than the latest of a plain loop in the same run. */
function pacedGoal({ name, parameters, latency }: Row, rows: readonly Row[]): Goal | undefined {
  const rival = rows.find((row) => row.name === name && row.target.startsWith(`${pacedRival} `));
  if (parameters["pacedPerSecond"] === undefined || latency === undefined) return undefined;
  if (rival?.latency === undefined) return undefined;
  return {
    what: `p99 beside the ${pacedRival}'s`,
    measured: latency.p99,
    atMost: rival.latency.p99,
    unit: "ms",
  };
}

/** A session of ours follows many, one of a peer subscribes to one topic. */
async function measureIdleSessions(bench: Bench, targets: readonly Target[]): Promise<Row[]> {
  const { run, payloadBytes = defaultPayloadBytes, processes } = bench;
  const shared = {
    sessions: run.size(idleDefaults.sessions),
    before: run.size(idleDefaults.before),
    payloadBytes,
    processes,
  };
  bench.remark(
    `An idle session of ours follows ${idleDefaults.follows}; one of a peer subscribes to one topic. What it takes is resident memory without mapped files; garbage is collected before where a server runs on Node.js.`,
  );
  const rows: Row[] = [];
  for (const target of targets) {
    const isOurs = target === bench.target;
    const folder = run.makeFolder();
    let site = await startSite(run, target, folder);
    const restart = async (): Promise<Site> => {
      await site.running.stop();
      site = await startSite(run, target, folder);
      return site;
    };
    const follows = isOurs ? idleDefaults.follows : 1;
    const authors = isOurs ? run.size(idleDefaults.authors) : 1;
    const [row] = await measureIdle(site, { ...shared, follows, authors }, restart);
    await site.running.stop();
    if (row === undefined) continue;
    if (isOurs) rows.push(row);
    else {
      const { goals: _ours, ...measured } = row;
      rows.push({ ...measured, notes: [] });
    }
  }
  return rows;
}

function parsePeers(text: string): Peer[] {
  return text.split(",").map((key) => {
    const peer = peers.find((each) => each.key === key);
    if (peer !== undefined) return peer;
    throw new InvalidArgumentError(
      `there is no ${key}; there are ${peers.map((each) => each.key).join(", ")}.`,
    );
  });
}

function parseParts(text: string): string[] {
  const names = text.split(",");
  const unknown = names.find((name) => !partNames.includes(name));
  if (unknown === undefined) return names;
  throw new InvalidArgumentError(`there is no ${unknown}; there are ${partNames.join(", ")}.`);
}
