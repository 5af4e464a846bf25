/* How a broker with workers ends: with its first process, and gracefully whatever its workers are sent. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import tap, { type Test } from "tap";

import { SessionClient } from "../sessions/session-client.ts";
import { nodeArgs } from "../program.ts";

const workers = 2;

await tap.test(
  "when the first process is killed its workers end, and their clients are let go",
  async (t) => {
    const { process: broker, url } = await start(t);
    const client = await SessionClient.open(url, { user: "alice" });
    const pids = await workersOf(broker.pid!);
    t.equal(pids.length, workers);
    broker.kill("SIGKILL");
    await client.closed;
    while (pids.some(isAlive)) await sleep(5);
    t.pass("none is left");
  },
);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  await tap.test(`${signal} to all processes at once drains: goodbye, then status 0`, async (t) => {
    const { process: broker, url, data, errors } = await start(t);
    const clients = await Promise.all(
      Array.from({ length: 6 }, (_, i) => SessionClient.open(url, { user: `user${i}`, device: "d" })),
    );
    const { cursor } = await clients[0]!.request("post", { text: "last words" });
    const { sub } = await clients[1]!.subscribe("user:user0", { from: "earliest" });
    clients[1]!.send({ op: "ack", sub, cursor });
    await clients[1]!.request("ping");
    const ended = once(broker, "exit");
    process.kill(-broker.pid!, signal);
    for (const client of clients) {
      await client.closed;
      t.match(client.others, [{ event: "goodbye", reason: "draining" }]);
    }
    t.same(await ended, [0, null]);
    t.notMatch(errors.join(""), /worker died|killed|fault/);

    const again = await start(t, data);
    const reader = await SessionClient.open(again.url, { user: "user1", device: "d" });
    t.equal((await reader.subscribe("user:user0")).start, cursor, "what was acknowledged last was kept");
  });
}

/** `serve` as the leader of a process group of its own. */
async function start(t: Test, given?: string) {
  const data = given ?? (await mkdtemp(join(tmpdir(), "whalesong-lifetime-")));
  const flags = ["--port", "0", "--data", data, "--workers", String(workers), "--drain", "300ms"];
  const child: ChildProcess = spawn(process.execPath, [...nodeArgs("broker/main"), "serve", ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await rm(data, { recursive: true, force: true });
  });
  const errors: string[] = [];
  child.stderr!.on("data", (text: Buffer) => errors.push(text.toString()));
  let output = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout!.on("data", (text: Buffer) => {
      output += text.toString();
      const match = /listens on (http:\S+)/.exec(output);
      if (match !== null) resolve(match[1]!);
    });
    child.once("exit", () => reject(new Error(`it ended before it listened: ${errors.join("")}`)));
  });
  return { process: child, url, data, errors };
}

/** From /proc: the workers that `pid` has started. */
async function workersOf(pid: number): Promise<number[]> {
  const names = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  return names.map(Number).filter((other) => parentOf(other) === pid && isWorker(other));
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return undefined; // it has ended meanwhile
  }
}

function isWorker(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("broker/workers/main");
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
