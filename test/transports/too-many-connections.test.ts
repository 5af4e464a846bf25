/* Connections that are one too many: of the broker, of one user, from one address. */

import { setTimeout as sleep } from "node:timers/promises";
import tap, { type Test } from "tap";

import type { Broker } from "../../broker/broker.ts";
import { closeCodes } from "../../protocol/index.ts";
import { SessionClient } from "../sessions/session-client.ts";
import { workers } from "../workers/count.ts";
import { EventReader } from "./event-reader.ts";
import { HalfOpenPeer } from "./half-open.ts";
import { call, secret, startBroker, tokenFor } from "./server.ts";

/** The limits of a user and of an address are each process's: with one worker they are the broker's. */
const processes = Math.min(workers, 1);

await tap.test("past --max-connections one is refused with 503, until another ends", async (t) => {
  const broker = await startBroker(t, { maxConnections: 3, workers });
  const silent = await Promise.all([1, 2, 3].map(() => HalfOpenPeer.open(broker.url)));
  await untilRefused(broker);
  const { status, error, headers } = await call(broker.url, "GET /healthz");
  t.equal(status, 503);
  t.match(error, { code: "unavailable", retryable: true, message: /as many connections as it takes, 3/ });
  t.ok(headers["retry-after"]);
  await t.rejects(SessionClient.open(broker.url, { user: "alice" }), /503/, "a WebSocket too");
  await t.rejects(EventReader.open(`${broker.url}/v1/stream?stream=home&user=alice`), /503 unavailable/);

  silent.pop()!.socket.destroy();
  while ((await call(broker.url, "GET /healthz")).status !== 200) await sleep(5);
  await countedAs(t, broker, "max_connections");
  for (const { socket } of silent) socket.destroy();
});

await tap.test("past --max-address-connections one is refused with 429", async (t) => {
  const broker = await startBroker(t, { maxAddressConnections: 2, workers: processes });
  const silent = await Promise.all([1, 2].map(() => HalfOpenPeer.open(broker.url)));
  await untilRefused(broker);
  t.match((await call(broker.url, "GET /healthz")).error, { code: "rate_limited", retryable: true });
  for (const { socket } of silent) socket.destroy();
  while ((await call(broker.url, "GET /healthz")).status !== 200) await sleep(5);
  await countedAs(t, broker, "address");
});

await tap.test("past --max-user-connections one is closed, whichever way it came", async (t) => {
  const broker = await startBroker(t, { authSecret: secret, maxUserConnections: 2, workers: processes });
  const token = await tokenFor("Alice");
  const open = (): Promise<SessionClient> => SessionClient.open(broker.url, { user: "alice", token });
  const first = await open();
  const url = `${broker.url}/v1/stream?stream=home&token=${token}`;
  const reader = await EventReader.open(url);

  const third = await SessionClient.open(broker.url);
  await t.rejects(third.request("hello", { token }), { code: "rate_limited" });
  t.equal((await third.closed).code, closeCodes.too_many);
  const byHeader = await SessionClient.open(broker.url);
  byHeader.terminate();
  const refused = await EventReader.open(url);
  t.match((await refused.expect("end"))[0]!.data, { error: { code: "rate_limited" } });

  t.ok(await SessionClient.open(broker.url, { user: "bob", token: await tokenFor("bob") }), "others may");
  const backend = await tokenFor("alice", { scope: "read backend" });
  for (let i = 0; i < 3; i++)
    t.ok(await SessionClient.open(broker.url, { user: "alice", token: backend }), "a backend is not counted");

  reader.close();
  for (;;) {
    const again = await open().catch(() => undefined);
    if (again !== undefined) break;
    await sleep(5);
  }
  await first.request("auth", { token: await tokenFor("alice") });
  t.ok(await first.request("ping"), "who renews is not counted twice");
});

/** Until all that came before are counted: a request that is one too many is refused. */
async function untilRefused({ url }: Broker): Promise<void> {
  while ((await call(url, "GET /healthz")).status === 200) await sleep(5);
}

async function countedAs(t: Test, { url }: Broker, excess: string): Promise<void> {
  const { text } = await call(url, "GET /metrics");
  t.match(text, new RegExp(`^whalesong_connections_refused_total\\{excess="${excess}"\\} [1-9]`, "m"));
}
