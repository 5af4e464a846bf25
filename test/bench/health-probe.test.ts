/* HealthProbe: checks on the connection that it keeps, and each time on a new one, and on another port are told apart, and heard at once. */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { Worker } from "node:worker_threads";

import tap from "tap";

import { HealthProbe } from "../../bench/workloads/health-probe.ts";

/** A run that has nothing but probes, which end. */
const run = { own: (): void => {} };

/** Counts what it is asked on the connection that it has first. */
const countingServer = `
  const { workerData: { answered }, parentPort } = require("node:worker_threads");
  let kept;
  const server = require("node:http").createServer(({ socket }, response) => {
    kept ??= socket;
    response.end();
    if (socket !== kept) return;
    Atomics.add(answered, 0, 1);
    Atomics.notify(answered, 0);
  });
  server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
`;

await tap.test("a check waits on the kept connection or on one of its own, which is told", async (t) => {
  const asked = new Map<Socket, number>();
  let enough: () => void;
  const isEnough = new Promise<void>((resolve) => (enough = resolve));
  const server = createServer(({ socket }, response) => {
    asked.set(socket, (asked.get(socket) ?? 0) + 1);
    response.statusCode = asked.size > 1 ? 200 : 503;
    response.end();
    if (asked.size === 3 && [...asked.values()][0]! > 4) enough();
  }).listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  let askedApart = 0;
  const operators = createServer((_request, response) => {
    askedApart++;
    response.end();
  }).listen(0, "127.0.0.1");
  t.teardown(() => operators.close());
  await once(operators, "listening");
  const [url, operatorUrl] = [server, operators].map(
    (one) => `http://127.0.0.1:${(one.address() as AddressInfo).port}`,
  );
  const probe = await HealthProbe.begin(run, url!, operatorUrl);
  t.same([...asked.values()], [1], "it has a connection before the load begins");
  await isEnough;
  const [kept, fresh, apart] = await probe.end();
  t.ok(askedApart > 0);
  const [first, ...others] = asked.values();
  t.ok(first! > 4, "one connection is kept");
  t.ok(
    others.every((count) => count === 1),
    "the others are asked on once",
  );
  t.match(kept, /^A health check every 100 ms was answered in p50 [\d.]+, p99 [\d.]+, at most [\d.]+ ms/);
  t.match(kept, /; \d+ were not answered with 200\.$/);
  t.match(apart, /^On the operators' port that took p50 [\d.]+, p99 [\d.]+, at most [\d.]+ ms\.$/);
  t.match(fresh, /^One every 500 ms on a new connection took p50 [\d.]+, p99 [\d.]+, at most [\d.]+ ms\.$/);
});

await tap.test("it asks and hears while the harness is busy", async (t) => {
  const answered = new Int32Array(new SharedArrayBuffer(4));
  const server = new Worker(countingServer, { eval: true, workerData: { answered } });
  t.teardown(() => server.terminate());
  const [port] = (await once(server, "message")) as [number];
  const probe = await HealthProbe.begin(run, `http://127.0.0.1:${port}`);
  // This thread does nothing else meanwhile. The next on the kept connection is not asked before the last was heard.
  for (let count = Atomics.load(answered, 0); count < 4; count = Atomics.load(answered, 0)) {
    if (Atomics.wait(answered, 0, count, 30_000) === "timed-out") break;
  }
  t.ok(Atomics.load(answered, 0) >= 4);
  await probe.end();
});
