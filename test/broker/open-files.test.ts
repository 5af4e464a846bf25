/* A broker with few open files: connections past them are refused, nothing ends, and afterwards it is as it was. */

import { readFileSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type Socket, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import tap from "tap";

import { connectionsThatFit } from "../../broker/open-files.ts";
import { BrokerProcess } from "../crash/broker-process.ts";
import { openFiles } from "../transports/half-open.ts";

/** Open files that the broker may have, and connections that come at once: more than twice as many. */
const mostFiles = 320;
const crowd = 700;
const crowds = 3;

await tap.test("most of what is left beside the reserve is for connections", async (t) => {
  t.equal(connectionsThatFit(1_024), 896);
  t.equal(connectionsThatFit(1_024, 4), 864);
  t.equal(connectionsThatFit(100), 25);
  t.equal(connectionsThatFit(Infinity), Infinity);
});

for (const workers of [0, 1])
  await tap.test(
    `crowds larger than its open files leave a broker with ${workers} workers as it was`,
    async (t) => {
      const data = await mkdtemp(join(tmpdir(), "whalesong-files-"));
      const log: string[] = [];
      const broker = await BrokerProcess.launch(
        ["--workers", String(workers), "--data", data, "--port", "0", "--log-level", "warn"],
        { by: ["prlimit", `--nofile=${mostFiles}:${mostFiles}`], onLog: (text) => log.push(text) },
      );
      t.teardown(async () => {
        await broker.kill();
        await rm(data, { recursive: true, force: true });
      });
      await served(broker.url);
      const processes = [broker.pid, ...workersOf(broker.pid)];
      t.equal(processes.length, 1 + workers);
      const before = processes.map((pid) => openFiles(pid));

      for (let round = 0; round < crowds; round++) {
        const sockets = await Promise.all(Array.from({ length: crowd }, () => open(broker.url)));
        for (const pid of processes) t.ok(openFiles(pid) < mostFiles, "files are left for other things");
        if (round < crowds - 1) for (const socket of sockets) socket.resetAndDestroy();
        else for (const socket of sockets) socket.destroy();
      }

      const metrics = await served(broker.url);
      t.match(metrics, /^whalesong_connections_refused_total\{excess="open_files"\} [1-9]/m);
      t.same([broker.pid, ...workersOf(broker.pid)], processes, "no process ended");
      for (const [i, pid] of processes.entries()) {
        while (openFiles(pid) > before[i]!) await sleep(10);
        t.pass(`process ${i} has the ${before[i]} files it had`);
      }
      const lines = log
        .join("")
        .split("\n")
        .filter((line) => line.includes("connections are refused"));
      t.ok(lines.length > 0 && lines.length < crowd / 10, `${lines.length} lines in the log`);
      t.notMatch(log.join(""), /worker died|ERR_|Handle did not reach/);
    },
  );

function open(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.once("connect", () => resolve(socket));
    socket.on("error", () => resolve(socket));
    socket.resume();
  });
}

/** Its metrics, once it serves. */
async function served(url: string): Promise<string> {
  for (;;) {
    try {
      const answer = await fetch(`${url}/metrics`, { headers: { connection: "close" } });
      if (answer.status === 200) return await answer.text();
      await answer.text();
    } catch {
      // refused, or cut off in a crowd
    }
    await sleep(10);
  }
}

/** From /proc: the workers that `pid` has started. */
function workersOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((other) => {
      try {
        const stat = readFileSync(`/proc/${other}/stat`, "utf8");
        const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
        return parent === pid && readFileSync(`/proc/${other}/cmdline`, "utf8").includes("workers/main");
      } catch {
        return false; // it has ended meanwhile
      }
    });
}
