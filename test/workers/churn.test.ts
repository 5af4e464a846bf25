/* Clients that come and go leave nothing behind in worker processes, nor in the process that hands them over: no object, no open file, no slot among LMDB's readers. Compressed, and
 * with tokens. What is asked is whether objects are alive, as in `transports/connection-churn.test.ts`. */

import { readdirSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as v8 from "node:v8";

import tap, { type Test } from "tap";

import type { SessionClient } from "../sessions/session-client.ts";
import { call, secret } from "../transports/server.ts";
import { type Place, prepare, visit, wayOf } from "../transports/visits.ts";
import type { Counts } from "./count-objects.ts";
import { WorkerBroker } from "./worker-broker.ts";

const rounds = 2;
/** Five of each way to go. */
const clientsInRound = 45;
/** Looks: a handle that is closed is let go of some turns of the event loop later. */
const mostLooks = 20;
/** Sockets that Node.js may keep until the next one takes their place: of the last request, or the last that was handed over. */
const lastSockets = 3;
/** Where workers tell what they count. */
const folder = await mkdtemp(join(tmpdir(), "whalesong-counts-"));
tap.teardown(() => rm(folder, { recursive: true }));

await tap.test("clients that come and go leave no object, open file or reader's slot behind", async (t) => {
  countable(t);
  const broker = await WorkerBroker.for(t, 2, { compress: true, authSecret: secret, pingMs: 5_000 });
  const users = Array.from({ length: 12 }, (_, i) => `u${i}`);
  const thread = await prepare(broker, users, true);
  const { pids } = broker.workers;
  await sessionsEnd(broker);
  const before = await Promise.all(pids.map(countIn));
  const socketsHere = socketsAlive();
  const filesBefore = pids.map(openFiles);
  const readersBefore = broker.core.state.readers().length;

  for (let round = 1; round <= rounds; round++) {
    const halfOpen: SessionClient[] = [];
    await Promise.all(
      Array.from({ length: clientsInRound }, async (_, i) => {
        const user = users[i % users.length]!;
        const client = await visit(broker, { user, thread, way: wayOf(i), hasToken: true });
        if (wayOf(i) === "half-open") halfOpen.push(client);
        else await client.closed;
      }),
    );
    await sessionsEnd(broker); // of those that say nothing, too: they do not answer pings
    for (const client of halfOpen) client.terminate();
    await Promise.all(halfOpen.map((client) => client.closed));
  }
  t.ok((await figure(broker, "whalesong_compressed_messages_total")) > 0, "it was compressed");
  t.same(broker.workers.pids, pids, "no worker died of it");
  for (const [i, pid] of pids.entries()) {
    const most = before[i]!.Socket + lastSockets;
    const left = await lookFor(
      () => countIn(pid),
      ({ Session, Subscription, Outbox, Socket: sockets }) =>
        Session + Subscription + Outbox === 0 && sockets <= most,
    );
    t.match(left, { Session: 0, Subscription: 0, Outbox: 0 }, `worker ${i + 1}`);
    t.ok(left.Socket <= most, `worker ${i + 1} has ${left.Socket} sockets; it had ${before[i]!.Socket}`);
  }
  for (const [i, pid] of pids.entries()) {
    const allowed = filesBefore[i]! + lastSockets;
    const open = await lookFor(
      () => openFiles(pid),
      (files) => files <= allowed,
    );
    t.ok(open <= allowed, `worker ${i + 1} has ${open} open files; it had ${filesBefore[i]}`);
  }
  t.equal(broker.core.state.readers().length, readersBefore, "no slot among LMDB's readers is taken");
  const most = socketsHere + lastSockets;
  const left = await lookFor(socketsAlive, (sockets) => sockets <= most);
  t.ok(left <= most, `the first process and the clients have ${left} sockets; they had ${socketsHere}`);
});

/** Looks until it is as it should be, or often enough. Returns what was seen last. */
async function lookFor<T>(look: () => T | Promise<T>, isAsItShould: (seen: T) => boolean): Promise<T> {
  for (let looks = 1; ; looks++) {
    const seen = await look();
    if (looks === mostLooks || isAsItShould(seen)) return seen;
    await sleep(1);
  }
}

/** Has the workers that are started from now on count when they are asked. */
function countable(t: Test): void {
  process.env["WHALESONG_COUNTS"] = folder;
  const flag = `--import=${import.meta.resolve("./count-objects.ts")}`;
  process.execArgv.push(flag); // workers are started with the flags of the first process
  t.teardown(() => process.execArgv.splice(process.execArgv.indexOf(flag), 1));
}

/** What is alive in a worker. */
async function countIn(pid: number): Promise<Counts> {
  const file = join(folder, String(pid));
  await rm(file, { force: true });
  process.kill(pid, "SIGUSR2");
  for (;;) {
    const text = await readFile(file, "utf8").catch(() => undefined);
    if (text !== undefined) return JSON.parse(text) as Counts;
    await sleep(5);
  }
}

function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function socketsAlive(): number {
  return v8.queryObjects(Socket, { format: "count" });
}

async function sessionsEnd(broker: Place): Promise<void> {
  while ((await figure(broker, "whalesong_sessions")) > 0) await sleep(5);
}

/** Asked on a connection of its own, which is gone afterwards. */
async function figure({ url }: Place, name: string): Promise<number> {
  const { text } = await call(url, "GET /metrics");
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
}
