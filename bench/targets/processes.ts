/* Processes: what a target's processes on this machine have spent and hold, read from /proc. Linux alone.
 *
 *     /proc/PID/stat     … (name) state ppid …   field 14 utime, 15 stime, in ticks of 10 ms
 *     /proc/PID/status   VmRSS, RssAnon
 *
 * A target is its processes and all that they have started, found anew each time. A process that ends takes its time with
 * it: its parent's children time is not counted, since some of it was before the measurement. */

import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";

export interface ProcessTimes {
  userSeconds: number;
  systemSeconds: number;
}

export interface ProcessMemory {
  /** Resident, mapped files among it. */
  rssBytes: number;
  /** Resident without mapped files; as `rssBytes` where that is not told. */
  anonymousBytes: number;
}

/** Linux tells times in ticks of this length, whatever the kernel's own are (USER_HZ). */
const tickSeconds = 0.01;

/** Whether this machine tells. */
export const canSeeProcesses = process.platform === "linux";

/** `roots` and all that descend from them. */
export function processTree(roots: readonly number[]): number[] {
  if (!canSeeProcesses || roots.length === 0) return [];
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const parent = statFields(pid)?.[1];
    if (parent === undefined) continue;
    const siblings = children.get(Number(parent));
    if (siblings === undefined) children.set(Number(parent), [pid]);
    else siblings.push(pid);
  }
  const tree: number[] = [];
  const left = [...roots];
  for (let pid = left.pop(); pid !== undefined; pid = left.pop()) {
    if (tree.includes(pid)) continue;
    tree.push(pid);
    left.push(...(children.get(pid) ?? []));
  }
  return tree;
}

/** CPU time of the processes and their children since each began; undefined where none can be seen. */
export function processTimes(roots: readonly number[]): ProcessTimes | undefined {
  const times = processTree(roots).flatMap((pid) => {
    const fields = statFields(pid);
    return fields === undefined ? [] : [{ user: Number(fields[11]), system: Number(fields[12]) }];
  });
  if (times.length === 0) return undefined;
  return {
    userSeconds: times.reduce((sum, { user }) => sum + user, 0) * tickSeconds,
    systemSeconds: times.reduce((sum, { system }) => sum + system, 0) * tickSeconds,
  };
}

/** Memory of the processes and their children; pages they share are counted once for each. */
export function processMemory(roots: readonly number[]): ProcessMemory | undefined {
  const memories = processTree(roots).flatMap((pid) => memoryOf(pid) ?? []);
  if (memories.length === 0) return undefined;
  return {
    rssBytes: memories.reduce((sum, { rssBytes }) => sum + rssBytes, 0),
    anonymousBytes: memories.reduce((sum, { anonymousBytes }) => sum + anonymousBytes, 0),
  };
}

/** Whether a process handles SIGUSR2, which would end it otherwise. */
export function handlesUsr2(pid: number): boolean {
  const caught = /^SigCgt:\s+([0-9a-f]+)$/m.exec(readOrNothing(`/proc/${pid}/status`) ?? "")?.[1];
  return caught !== undefined && (BigInt(`0x${caught}`) & (1n << 11n)) !== 0n;
}

/** The fields of /proc/PID/stat behind the name: state is number 0, the parent number 1. */
function statFields(pid: number): string[] | undefined {
  const text = readOrNothing(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(")") + 2).split(" ");
}

function memoryOf(pid: number): ProcessMemory | undefined {
  const text = readOrNothing(`/proc/${pid}/status`);
  if (text === undefined) return undefined;
  const bytes = (name: string): number | undefined => {
    const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
    return kib === undefined ? undefined : Number(kib) * 1_024;
  };
  const rssBytes = bytes("VmRSS");
  return rssBytes === undefined ? undefined : { rssBytes, anonymousBytes: bytes("RssAnon") ?? rssBytes };
}

/** A process may end while it is looked at. */
function readOrNothing(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Whether processes can be kept to cores here. */
export function canPin(): boolean {
  return process.platform === "linux" && spawnSync("taskset", ["--version"]).status === 0;
}

/** Starts a program on the cores given, or on all. */
export function spawnPinned(
  file: string,
  args: readonly string[],
  options: SpawnOptions & { cores: readonly number[] | undefined },
): ChildProcess {
  const { cores, ...rest } = options;
  if (cores === undefined) return spawn(file, args, rest);
  return spawn("taskset", ["-c", cores.join(","), file, ...args], rest);
}

/** Keeps a process that runs, with all its threads, to the cores given. */
export function pin(pid: number, cores: readonly number[]): void {
  const { status, stderr } = spawnSync("taskset", ["-a", "-p", "-c", cores.join(","), String(pid)]);
  if (status !== 0)
    throw new Error(`taskset cannot keep process ${pid} to its core: ${stderr.toString().trim()}`);
}
