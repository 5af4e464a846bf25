/* HealthProbe: checks on the connection that it keeps, and each time on a new one, are told apart. */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";

import tap from "tap";

import { HealthProbe } from "../../bench/workloads/health-probe.ts";

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
  const probe = await HealthProbe.begin(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.same([...asked.values()], [1], "it has a connection before the load begins");
  await isEnough;
  const [kept, fresh] = probe.end();
  const [first, ...others] = asked.values();
  t.ok(first! > 4, "one connection is kept");
  t.ok(
    others.every((count) => count === 1),
    "the others are asked on once",
  );
  t.match(kept, /^A health check every 100 ms was answered in p50 [\d.]+, p99 [\d.]+, at most [\d.]+ ms/);
  t.match(kept, /; \d+ were not answered with 200\.$/);
  t.match(fresh, /^One every 500 ms on a new connection took p50 [\d.]+, p99 [\d.]+, at most [\d.]+ ms\.$/);
});
