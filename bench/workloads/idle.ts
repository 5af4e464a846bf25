/* idle: what a session costs that has a live `home`, follows many, and gets nothing.
 *
 *   follows made ─► broker started anew ─► some sessions ─► look ─► many more ─► look
 *
 * What the first sessions bring into being is not counted, and neither is what making the follows took. Before each look
 * garbage is collected, where the target can be asked to; the look is the median of some. */

import { setTimeout as sleep } from "node:timers/promises";

import { median } from "../measure.ts";
import type { Row } from "../report/result.ts";
import { type ProcessMemory, processMemory } from "../targets/processes.ts";
import { type Running, targetName } from "../targets/target.ts";
import { followAtRandom, sliceFollows } from "./follows.ts";
import { Loads, type LoadsOptions } from "./loads.ts";
import { loadResult } from "./outcome.ts";
import type { Site } from "./workload.ts";

export interface IdleOptions {
  sessions: number;
  /** Authors that each follows. */
  follows: number;
  authors: number;
  /** Sessions open before the first look. */
  before: number;
  payloadBytes: number;
  processes: number | undefined;
}

export const idleDefaults = { sessions: 10_000, follows: 100, authors: 2_000, before: 500 } as const;

/** To hold, without mapped files. */
const mostBytes = 9_000;
const looks = 5;
const betweenLooksMs = 300;

/** @param restart gives the same target with the same data, in a fresh process; the site itself where that cannot be */
export async function measureIdle(
  site: Site,
  options: IdleOptions,
  restart: () => Promise<Site>,
): Promise<Row[]> {
  const { sessions, follows, authors, before, payloadBytes, processes } = options;
  const name = site.run.makeName();
  const each = Math.min(follows, authors);
  const all = followAtRandom({ readers: before + sessions, authors, each, seed: 2 });
  const loadsAt = ({ run, running }: Site, from: number, to: number): LoadsOptions => ({
    run,
    dialect: running.dialect(name),
    processes,
    follows: sliceFollows(all, from, to),
    topicCount: authors,
    schedule: Uint32Array.of(0),
    payloadBytes,
  });
  if (site.target.abilities.follows) {
    const maker = await Loads.start(loadsAt(site, 0, before + sessions));
    await site.run.phase("idle: follows", maker.follows, (progress) => maker.prepare(progress));
    await maker.close();
  }
  const fresh = await restart();
  const first = await Loads.start(loadsAt(fresh, 0, before));
  await first.open("live", () => {});
  const empty = await look(fresh.running);
  const many = await Loads.start(loadsAt(fresh, before, before + sessions));
  const startMs = performance.now();
  const spent = await fresh.run.phase(
    `idle: ${sessions.toLocaleString("en")} sessions`,
    sessions,
    (progress) => many.open("live", progress),
  );
  const seconds = (performance.now() - startMs) / 1_000;
  const full = await look(fresh.running);
  await many.close();
  await first.close();
  const row: Row = {
    workload: "idle",
    name: `${sessions.toLocaleString("en")} sessions, each following ${each}`,
    target: targetName(site.target),
    parameters: { sessions, follows: each },
    seconds,
    load: loadResult(spent, undefined),
    notes: [`They connected at ${Math.round(sessions / seconds).toLocaleString("en")} a second.`],
  };
  if (empty === undefined || full === undefined) {
    row.notes.push("The target's memory cannot be seen from here.");
    return [row];
  }
  const bytesOf = (kind: keyof ProcessMemory): number => Math.round((full[kind] - empty[kind]) / sessions);
  row.memory = { rssBytes: full.rssBytes, bytesPerSession: bytesOf("anonymousBytes") };
  row.notes.push(
    `Bytes of a session are resident memory without mapped files; with them (pages of the store that were read for it, which the system takes back when it needs them) ${bytesOf("rssBytes").toLocaleString("en")}.`,
    fresh.running.collectGarbage === undefined
      ? "Garbage could not be collected before: some of it is counted."
      : "Garbage was collected before each look.",
  );
  row.goals = [
    { what: "memory of a session", measured: bytesOf("anonymousBytes"), atMost: mostBytes, unit: "bytes" },
  ];
  return [row];
}

async function look(running: Running): Promise<ProcessMemory | undefined> {
  const seen: ProcessMemory[] = [];
  for (let i = 0; i < looks; i++) {
    await running.collectGarbage?.();
    await sleep(betweenLooksMs);
    const memory = processMemory(running.pids());
    if (memory !== undefined) seen.push(memory);
  }
  if (seen.length === 0) return undefined;
  return {
    rssBytes: median(seen.map(({ rssBytes }) => rssBytes)),
    anonymousBytes: median(seen.map(({ anonymousBytes }) => anonymousBytes)),
  };
}
