/* Target: a system under test, as a workload sees it.
 *
 *   Target ──start──> Running ─ dialect     how load processes speak to it, as bytes
 *                             ├ pids        whose CPU and memory are counted, with all their children
 *                             └ health      where it says how late its event loop is
 *
 * A workload knows topics (authors) and readers by number alone; the dialect makes names of them. What a target cannot do
 * it says in `abilities`, and a workload that needs it leaves the target out. */

import type { DialectRef } from "../load/dialect.ts";

export interface Abilities {
  /** Follows last: a workload makes them once, by the dialect's `follow`, before readers connect. */
  follows: boolean;
  /** A reader that was away resumes and gets what it missed. */
  resumes: boolean;
  /** A mention reaches a user who does not follow. */
  mentions: boolean;
  /** Publishes are answered. */
  answers: boolean;
}

export interface StartOptions {
  /** An empty folder for what it writes; removed after the run. */
  folder: string;
  /** The cores its processes may use (`spawnPinned` starts them so); all when undefined. */
  cores: readonly number[] | undefined;
  /** Where CPU profiles go, where a target can make them. */
  profiles: string | undefined;
  /** Aborted when the run is interrupted: what was started is to be killed. */
  signal: AbortSignal;
}

export interface Target {
  /** "whalesong", "nats-server". */
  readonly name: string;
  /** As it says itself; "" where it does not. */
  readonly version: string;
  readonly abilities: Abilities;
  /** @throws what keeps it from starting; nothing of it is left running then */
  start(options: StartOptions): Promise<Running>;
}

export interface Running {
  /** The most readers it can have, by the open files of its processes; undefined where that is not known. */
  readonly mostReaders: number | undefined;
  /** How to speak to it. Users and topics of different `run`s on one target do not touch: `run` is part of their names. */
  dialect(run: string): DialectRef;
  /** Its processes on this machine; those they started are found from them. None where they cannot be seen. */
  pids(): number[];
  /** Its programs, where it is several: what each of them spends is told apart. Absent where it is one. */
  parts?(): Part[];
  /** What it tells of itself since it was asked last, by its own means; undefined where it tells nothing. */
  health?(): Promise<Health | undefined>;
  /** One of its counters now, by the name it has in its metrics; undefined where it cannot be read. */
  counter?(name: string): Promise<number | undefined>;
  /** Collects garbage in its processes, so that memory is what is held. Absent where that cannot be asked for. */
  collectGarbage?(): Promise<void>;
  /** Where it answers a health check by HTTP; a workload may time that. */
  healthUrl?: string | undefined;
  /** The same on a port of its own, where clients do not come; undefined where there is none. */
  operatorHealthUrl?: string | undefined;
  stop(): Promise<void>;
}

export interface Part {
  /** "node 1", "nats-server". */
  name: string;
  pids: number[];
}

export interface Health {
  /** CPU time since its start, in seconds: for targets whose processes are not on this machine. */
  userSeconds?: number;
  systemSeconds?: number;
  rssBytes?: number;
  /** How late its event loop came to what was due, since it was asked last, in ms. */
  loopDelay?: { p50: number; p99: number; max: number };
}

/** What a workload's rows are called by. */
export function targetName({ name, version }: Pick<Target, "name" | "version">): string {
  return version === "" ? name : `${name} ${version}`;
}
