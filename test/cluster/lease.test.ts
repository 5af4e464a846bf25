/* The lease: one node holds it at a time, and knows when it holds it no more. */

import { rm } from "node:fs/promises";

import { connect, type NatsConnection } from "nats";
import tap, { type Test } from "tap";

import { Lease } from "../../broker/cluster/lease.ts";
import { createLogger } from "../../broker/logger.ts";
import { NatsServers, natsTest } from "./nats-server.ts";
import { budget } from "../pace.ts";

const ttlMs = budget(1_500);

function seek(t: Test, connection: NatsConnection, node: string): Lease {
  const lease = new Lease(connection, {
    bucket: "test_lease",
    node,
    ttlMs,
    replicas: 1,
    logger: createLogger("silent"),
  });
  t.teardown(() => lease.close());
  return lease;
}

async function connectTo(t: Test, nats: NatsServers): Promise<NatsConnection> {
  const connection = await connect({
    servers: nats.urls.split(","),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
  });
  t.teardown(() => connection.close());
  return connection;
}

/** Looks all the time that no two hold it. */
async function until(condition: () => boolean, leases: readonly Lease[] = []): Promise<void> {
  while (!condition()) {
    const holders = leases.filter(({ isHeld }) => isHeld).length;
    if (holders > 1) throw new Error(`${holders} hold the lease`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

await natsTest(
  tap,
  "of those who seek it one has it; given back, another has it",
  { timeoutMs: 60_000 },
  async (t) => {
    const nats = await NatsServers.for(t);
    const leases: Lease[] = [];
    for (const node of ["a", "b", "c"]) leases.push(seek(t, await connectTo(t, nats), node));
    for (let left = leases; left.length > 0;) {
      await until(() => left.some(({ isHeld }) => isHeld), leases);
      const holder = left.find(({ isHeld }) => isHeld)!;
      const tenure = holder.tenure!;
      t.notOk(tenure.aborted);
      const since = Date.now();
      await until(() => Date.now() - since > 2 * ttlMs, leases);
      t.ok(holder.isHeld, "it is renewed");
      await holder.close();
      t.ok(tenure.aborted);
      t.notOk(holder.isHeld);
      t.equal(holder.tenure, undefined);
      left = left.filter((lease) => lease !== holder);
    }
  },
);

await natsTest(
  tap,
  "a holder that cannot reach NATS knows that it is over before another has it",
  { timeoutMs: 60_000 },
  async (t) => {
    const nats = await NatsServers.for(t);
    const own = await connectTo(t, nats);
    const first = seek(t, own, "first");
    await until(() => first.isHeld);
    const tenure = first.tenure!;
    const second = seek(t, await connectTo(t, nats), "second");
    await own.close();
    await until(() => second.isHeld, [first, second]);
    t.ok(tenure.aborted);
    t.match((tenure.reason as Error).message, /not renewed in time/);
  },
);

await natsTest(tap, "a holder that rests leaves it to another", { timeoutMs: 60_000 }, async (t) => {
  const nats = await NatsServers.for(t);
  const connection = await connectTo(t, nats);
  const first = seek(t, connection, "first");
  await until(() => first.isHeld);
  const second = seek(t, connection, "second");
  await first.rest(600_000);
  t.notOk(first.isHeld);
  await until(() => second.isHeld, [first, second]);
  await second.close();
  const since = Date.now();
  await until(() => Date.now() - since > 2 * ttlMs);
  t.notOk(first.isHeld, "it still rests");
});

await natsTest(
  tap,
  "NATS away for long and back, also without its data: one has it again",
  { timeoutMs: 120_000 },
  async (t) => {
    const nats = await NatsServers.for(t);
    const leases = [seek(t, await connectTo(t, nats), "a"), seek(t, await connectTo(t, nats), "b")];
    await until(() => leases.some(({ isHeld }) => isHeld));
    await nats.stop();
    await until(() => !leases.some(({ isHeld }) => isHeld), leases);
    await nats.start();
    await until(() => leases.some(({ isHeld }) => isHeld), leases);
    t.pass("back");
    await nats.stop();
    await until(() => !leases.some(({ isHeld }) => isHeld), leases);
    for (const { store } of nats.servers) await rm(store, { recursive: true });
    await nats.start();
    await until(() => leases.some(({ isHeld }) => isHeld), leases);
    t.pass("the bucket is made anew");
  },
);
