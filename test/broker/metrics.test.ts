/* What the broker tells of itself. */

import { once } from "node:events";
import { readdirSync } from "node:fs";
import { type Socket, connect } from "node:net";

import tap from "tap";

import { EventReader } from "../transports/event-reader.ts";
import { call, startServer } from "../transports/server.ts";

/** Metrics by name and labels. */
async function scrape(url: string): Promise<Map<string, number>> {
  const { text } = await call(url, "GET /metrics");
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
}

await tap.test("metrics are in Prometheus' text format, each with its type and a line of help", async (t) => {
  const { url } = await startServer(t);
  const { headers, text } = await call(url, "GET /metrics");
  t.equal(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
  const names = new Set([...text.matchAll(/^(whalesong_\w+)/gm)].map(([, name]) => name!));
  t.ok(names.size >= 14);
  for (const name of names) {
    t.match(text, new RegExp(`^# HELP ${name} \\S`, "m"));
    t.match(text, new RegExp(`^# TYPE ${name} ${name.endsWith("_total") ? "counter" : "gauge"}$`, "m"));
  }
  t.match(text, /^nodejs_eventloop_lag_seconds /m);
  t.match(text, /^process_resident_memory_bytes /m);
});

await tap.test("they follow what happens", async (t) => {
  const { url } = await startServer(t);
  const before = await scrape(url);
  t.equal(before.get("whalesong_head_offset"), 0);
  t.equal(before.get("whalesong_sessions"), 0);

  const reader = await EventReader.open(`${url}/v1/stream?stream=user:bob&user=alice&from=earliest`);
  await reader.expect("live");
  await call(url, "POST /v1/posts?user=bob", { body: { text: "one" } });
  await reader.expect("post");
  const old = await EventReader.open(`${url}/v1/stream?stream=user:bob&user=alice&from=earliest`);
  await old.expect("post", "live");
  await call(url, "GET /v1/posts/nope?user=alice");
  await call(url, "GET /v1/posts/nope?user=alice");
  await call(url, "GET /v1/posts/nope");

  const after = await scrape(url);
  t.equal(after.get("whalesong_sessions"), 2);
  t.equal(after.get("whalesong_sessions_opened_total"), 2);
  t.equal(after.get("whalesong_subscriptions"), 2);
  t.equal(after.get("whalesong_catching_up"), 0);
  t.equal(after.get('whalesong_deliveries_total{way="live"}'), 1);
  t.ok(after.get('whalesong_deliveries_total{way="catch_up"}')! >= 1);
  t.equal(after.get('whalesong_refusals_total{code="not_found"}'), 2);
  t.equal(after.get('whalesong_refusals_total{code="unauthenticated"}'), 1);
  t.ok(after.get("whalesong_head_offset")! >= 1);
  t.equal(after.get("whalesong_durable_offset"), after.get("whalesong_head_offset"));
  t.equal(after.get("whalesong_floor_offset"), 0);
  for (const name of ["log_pending", "fanout_pending", "faults_total", "fallbacks_total"])
    t.equal(after.get(`whalesong_${name}`), 0, name);
  t.ok(after.get("whalesong_interest_bytes")! > 0);
  t.ok(
    after.get('whalesong_table_entries{table="log"}')! > before.get('whalesong_table_entries{table="log"}')!,
  );
  const tables = [...after].filter(([name]) => name.startsWith("whalesong_table_bytes"));
  t.equal(
    tables.reduce((sum, [, bytes]) => sum + bytes, 0),
    after.get("whalesong_store_bytes"),
  );
  t.ok(after.get("whalesong_store_file_bytes")! >= after.get("whalesong_store_bytes")!);

  reader.close();
  old.close();
  while ((await scrape(url)).get("whalesong_sessions") !== 0); // a session that is kept would time this out
  t.equal((await scrape(url)).get("whalesong_sessions_opened_total"), 2, "counters do not go down");
});

await tap.test(
  "open files are counted; connections are not listed for a figure that grows with them",
  async (t) => {
    const { url } = await startServer(t);
    const before = await scrape(url);
    const sockets: Socket[] = Array.from({ length: 100 }, () =>
      connect(Number(new URL(url).port), "127.0.0.1"),
    );
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    const after = await scrape(url);
    if (process.platform === "linux") {
      t.ok(after.get("process_open_fds")! >= before.get("process_open_fds")! + sockets.length);
      const listed = readdirSync("/proc/self/fd").length;
      t.ok(Math.abs(after.get("process_open_fds")! - listed) < 20, `${listed} listed`);
      t.ok(after.get("process_max_fds")! > 0);
    }
    t.same(
      [...after.keys()].filter((name) => /^nodejs_active_(handles|resources)/.test(name)),
      [],
    );
    for (const socket of sockets) socket.destroy();
  },
);
