/* A crowd that comes back at once is let in at once, also while the broker is busy with something else.
 *
 * Whoever finds no place in the queue of connections that wait to be accepted is not refused: the kernel drops what they
 * sent, and theirs sends it again after a second, then after two more. Linux alone tells that it did. */

import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type Socket, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import tap from "tap";

import { BrokerProcess } from "../crash/broker-process.ts";

/** More than would wait by Node.js' own default, 511. */
const crowd = 1_500;
const skip = process.platform === "linux" ? false : "/proc tells";

for (const workers of [0, 1]) {
  await tap.test(
    `a crowd waits to be accepted, none is sent away; workers: ${workers}`,
    { skip },
    async (t) => {
      t.ok(
        Number(readFileSync("/proc/sys/net/core/somaxconn", "utf8")) >= crowd,
        "the kernel lets them wait",
      );
      const folder = await mkdtemp(join(tmpdir(), "whalesong-backlog-"));
      const broker = await BrokerProcess.start(folder, "--workers", String(workers));
      const sockets: Socket[] = [];
      t.teardown(async () => {
        for (const socket of sockets) socket.destroy();
        broker.resume();
        await broker.stop();
        await rm(folder, { recursive: true });
      });
      const { hostname, port } = new URL(broker.url);
      broker.pause();
      const connected = new Set<Socket>();
      for (let i = 0; i < crowd; i++) {
        const socket = connect(Number(port), hostname).on("error", () => {});
        socket.once("connect", () => connected.add(socket));
        sockets.push(socket);
      }
      while (connected.size < crowd && countSentAgain(Number(port)) === 0) await sleep(5);
      t.equal(connected.size, crowd);
    },
  );
}

/** Connections to `port` that are being made and have had to ask again. */
function countSentAgain(port: number): number {
  const synSent = "02";
  const rows = readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .slice(1)
    .map((row) => row.trim().split(/\s+/));
  return rows.filter(
    ([, , remote, state, , , again]) =>
      state === synSent &&
      Number.parseInt(remote!.split(":")[1]!, 16) === port &&
      Number.parseInt(again!, 16) > 0,
  ).length;
}
