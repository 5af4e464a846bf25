/* The operators' port: what is asked there waits behind nobody, and is answered to the end. */

import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type Socket, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import tap from "tap";

import { BrokerProcess } from "../crash/broker-process.ts";
import { freePort } from "../free-port.ts";
import { SessionClient } from "../sessions/session-client.ts";
import { type Answer, call, startBroker } from "../transports/server.ts";

/** Connections that are ahead of the health check on the clients' port. */
const crowd = 1_000;
/** Of the broker that is watched while it stops. */
const drainMs = 3_000;

for (const workers of [0, 1]) {
  await tap.test(
    `a health check there is answered while a crowd waits to be let in; workers: ${workers}`,
    async (t) => {
      const folder = await mkdtemp(join(tmpdir(), "whalesong-operators-"));
      const port = await freePort();
      const flags = ["--operator-port", String(port), "--workers", String(workers)];
      const broker = await BrokerProcess.start(folder, ...flags);
      const sockets: Socket[] = [];
      t.teardown(async () => {
        for (const socket of sockets) socket.destroy();
        broker.resume();
        await broker.stop();
        await rm(folder, { recursive: true });
      });
      const clientsPort = Number(new URL(broker.url).port);
      broker.pause();
      for (let i = 0; i < crowd; i++) {
        const socket = connect(clientsPort, "127.0.0.1").on("error", () => {});
        sockets.push(socket);
      }
      while (waitingAt(clientsPort) < crowd) await sleep(5);
      const answered: string[] = [];
      const behindCrowd = call(broker.url, "GET /healthz").then(() => answered.push("clients' port"));
      while (waitingAt(clientsPort) === crowd) await sleep(5);
      const apart = call(`http://127.0.0.1:${port}`, "GET /healthz").then(({ status }) =>
        answered.push(`operators' port: ${status}`),
      );
      while (waitingAt(port) === 0) await sleep(5);
      broker.resume();
      await Promise.all([behindCrowd, apart]);
      t.same(answered, ["operators' port: 200", "clients' port"]);
    },
  );
}

await tap.test("a broker that drains says there that it is not ready, until it has ended", async (t) => {
  const broker = await startBroker(t, { operatorPort: 0 });
  const url = broker.operatorUrl!;
  const clientsUrl = broker.url;
  t.equal((await call(url, "GET /readyz")).status, 200);
  for (const user of ["alice", "bob"]) await SessionClient.open(clientsUrl, { user });
  const stopped = broker.stop(drainMs); // the second is let go after half of it
  await t.rejects(call(clientsUrl, "GET /readyz"), { code: "ECONNREFUSED" });
  const answers: Answer[] = [];
  for (;;) {
    const answer = await call(url, "GET /readyz").catch(() => undefined);
    if (answer === undefined) break;
    answers.push(answer);
  }
  t.ok(answers.length > 0);
  for (const { status, error } of answers)
    if (status !== 503 || error.code !== "unavailable") t.fail(`${status} ${error.message}`);
  await stopped;
});

await tap.test("there is nothing but health, readiness and metrics", async (t) => {
  const broker = await startBroker(t, { operatorPort: 0 });
  const url = broker.operatorUrl!;
  await call(broker.url, "POST /v1/posts?user=alice", { body: { text: "hello" } });
  t.match((await call(url, "GET /metrics")).text, /^whalesong_head_offset 1$/m);
  for (const line of [
    "POST /v1/posts?user=alice",
    "GET /v1/stream?stream=home&user=alice",
    "GET /openapi.json",
  ])
    t.match(await call(url, line), { status: 404, error: { code: "not_found" } }, line);
});

for (const workers of [0, 1]) {
  await tap.test(
    `metrics are told there alone; health is told at both ports; workers: ${workers}`,
    async (t) => {
      const { url, operatorUrl } = await startBroker(t, { operatorPort: 0, workers });
      for (const path of ["/metrics", "/%6detrics", "//metrics"])
        t.match(await call(url, `GET ${path}`), { status: 404, error: { code: "not_found" } }, path);
      t.match((await call(url, "GET /metrics")).error, { message: /operators' port alone/ });
      t.match((await call(operatorUrl!, "GET /metrics")).text, /^whalesong_sessions 0$/m);
      for (const each of [url, operatorUrl!])
        for (const path of ["/healthz", "/readyz"])
          t.equal((await call(each, `GET ${path}`)).status, 200, path);
      const alone = await startBroker(t, { workers });
      t.match(
        (await call(alone.url, "GET /metrics")).text,
        /^whalesong_sessions 0$/m,
        "without one all is told at one port",
      );
    },
  );

  await tap.test(`who scrapes more often is given the same text again; workers: ${workers}`, async (t) => {
    const { url } = await startBroker(t, { metricsShareMs: 60_000, workers });
    const texts = await Promise.all(
      Array.from({ length: 50 }, async () => (await call(url, "GET /metrics")).text),
    );
    await call(url, "POST /v1/posts?user=alice", { body: { text: "hello" } });
    texts.push((await call(url, "GET /metrics")).text);
    t.equal(new Set(texts).size, 1);
    t.match(texts[0], /^whalesong_sessions 0$/m);
  });
}

await tap.test("it has an address of its own, which is no other's to choose", async (t) => {
  const { url, operatorUrl } = await startBroker(t, { operatorPort: 0, operatorHost: "127.0.0.2" });
  t.match(operatorUrl, /^http:\/\/127\.0\.0\.2:/);
  t.match(url, /^http:\/\/127\.0\.0\.1:/);
  t.equal((await call(operatorUrl!, "GET /metrics")).status, 200);
  await t.rejects(startBroker(t, { operatorHost: "127.0.0.2" }), /operatorHost: .*--operator-port/);
});

await tap.test("in open mode no page gets at it", async (t) => {
  const { operatorUrl } = await startBroker(t, { operatorPort: 0 });
  for (const headers of [
    { origin: "https://app.example" },
    { host: "evil.example" },
    { "sec-fetch-site": "cross-site" },
  ] as Record<string, string>[]) {
    t.equal((await call(operatorUrl!, "GET /%6detrics", { headers })).status, 403);
    t.equal((await call(operatorUrl!, "GET /readyz", { headers })).status, 200);
  }
});

await tap.test("a port that is taken is refused, and the broker's folder is let go of", async (t) => {
  const first = await startBroker(t, { operatorPort: 0 });
  const operatorPort = Number(new URL(first.operatorUrl!).port);
  const data = await mkdtemp(join(tmpdir(), "whalesong-operators-"));
  t.teardown(() => rm(data, { recursive: true }));
  await t.rejects(startBroker(t, { data, operatorPort }), { code: "EADDRINUSE" });
  const second = await startBroker(t, { data });
  t.equal(second.operatorUrl, undefined);
});

/** How many connections wait to be accepted, as Linux tells it. */
function waitingAt(port: number): number {
  const listening = "0A";
  for (const row of readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1)) {
    const [, local, , state, queues] = row.trim().split(/\s+/);
    if (state === listening && Number.parseInt(local!.split(":")[1]!, 16) === port)
      return Number.parseInt(queues!.split(":")[1]!, 16);
  }
  return 0;
}
