/* What a broker with workers tells of itself is the whole broker's, whichever worker is asked. */

import tap from "tap";

import { WorkerBroker } from "./worker-broker.ts";

await tap.test("figures are the whole broker's, and told apart by worker", async (t) => {
  const broker = await WorkerBroker.for(t, 2);
  const [one, other] = await broker.connectToEach(["alice", "bob"]);
  const inboxes = [
    await one!.subscribeLive("user:alice", { from: "live" }),
    await other!.subscribeLive("user:alice", { from: "live" }),
  ];
  const { cursor } = await one!.request("post", { text: "both get it" });
  for (const [i, client] of [one!, other!].entries())
    await client.until(() => inboxes[i]!.events.some((event) => event["cursor"] === cursor));
  for (const client of [one!, other!]) await client.request("get", { post: "nope" }).catch(() => {});
  const metrics = await broker.metrics();
  t.equal(metrics.get("whalesong_sessions"), 2);
  t.equal(metrics.get("whalesong_subscriptions"), 2);
  t.equal(metrics.get('whalesong_deliveries_total{way="live"}'), 2);
  t.equal(metrics.get('whalesong_refusals_total{code="not_found"}'), 2);
  t.equal(metrics.get("whalesong_durable_offset"), broker.head);
  t.equal(metrics.get("whalesong_head_offset"), broker.head);
  t.ok(metrics.get('whalesong_table_entries{table="log"}')! > 0);
  t.equal(metrics.get("whalesong_workers"), 2);
  for (const worker of [1, 2]) {
    t.equal(metrics.get(`whalesong_worker_sessions{worker="${worker}"}`), 1);
    t.equal(metrics.get(`whalesong_worker_head_offset{worker="${worker}"}`), broker.head);
  }
  const memory = [0, 1, 2].map((n) => metrics.get(`whalesong_worker_resident_memory_bytes{worker="${n}"}`)!);
  t.equal(
    metrics.get("process_resident_memory_bytes"),
    memory.reduce((sum, bytes) => sum + bytes, 0),
  );
});

await tap.test("no counter goes back when a worker is replaced", async (t) => {
  const broker = await WorkerBroker.for(t, 2);
  const clients = await broker.connectToEach(["alice", "bob"]);
  for (const client of clients) {
    await client.subscribeLive("user:alice", { from: "earliest" });
    await client.request("get", { post: "nope" }).catch(() => {});
  }
  const before = await broker.metrics();
  await broker.killWorker(1);
  const after = await broker.metrics();
  const counters = [...before.keys()].filter((name) =>
    /^(whalesong|process_cpu)_\w+_total|^nodejs_gc_/.test(name),
  );
  t.ok(counters.length > 8);
  for (const name of counters) t.ok(after.get(name)! >= before.get(name)!, name);
  t.equal(after.get("whalesong_workers_replaced"), 1);
  t.equal(after.get("whalesong_sessions"), 1);
});

await tap.test("health is told by any worker, readiness by the process that writes", async (t) => {
  const broker = await WorkerBroker.for(t, 2);
  const ask = async (path: string): Promise<number> => (await fetch(`${broker.url}${path}`)).status;
  for (let i = 0; i < 4; i++) {
    t.equal(await ask("/healthz"), 200);
    t.equal(await ask("/readyz"), 200);
  }
  broker.core.stop();
  for (let i = 0; i < 4; i++) {
    t.equal(await ask("/healthz"), 200);
    t.equal(await ask("/readyz"), 503);
  }
});
