/* The harness with a broker that it starts itself, and with one that asks for tokens. */

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import tap from "tap";

import { processTree } from "../../bench/targets/processes.ts";
import { startBroker } from "../cli/broker.ts";
import { secret, tokenFor } from "../transports/server.ts";
import { bench, measure } from "./harness.ts";

await tap.test("whale starts a broker, measures it and leaves nothing behind", async (t) => {
  const folder = t.testdir({ data: {} });
  const data = join(folder, "data");
  const page = join(folder, "whale.html");
  const sizes = ["--online", "20,1000000", "--in-flight", "2", "--paced", "1000", "--seconds", "0.3"];
  const before = processTree([process.pid]).length;
  const { result, stdout } = await measure(data, "whale", ...sizes, "--html", page);
  const ours = result.rows.filter(({ target }) => target.startsWith("whalesong "));
  t.equal(ours.length, 2);
  for (const { deliveries, publishes, cpu, memory, loopDelay } of ours) {
    t.equal(deliveries, publishes! * 20);
    t.ok(cpu !== undefined && cpu.userUs + cpu.systemUs > 0, "its CPU is seen");
    t.ok(memory !== undefined && memory.rssBytes > 1e6, "its memory is seen");
    t.ok(loopDelay !== undefined, "its event loop's delay is told");
  }
  t.ok(
    result.notes.some((sentence) => sentence.startsWith("1,000,000 online was left out: ")),
    "what could not be run is said",
  );
  t.match(stdout, /CPU µs/);
  t.match(readFileSync(page, "utf8"), /20 online, 2 in flight/);
  t.strictSame(readdirSync(data), ["whale.json"], "its data is gone");
  t.equal(processTree([process.pid]).length, before, "its processes are gone");
});

await tap.test("with --deflate readers ask for compression, and fewer bytes come", async (t) => {
  const folder = t.testdir({});
  const sizes = ["--online", "20", "--in-flight", "2", "--paced", "1000", "--seconds", "0.3", "--loads", "1"];
  const wireBytes = async (...args: string[]): Promise<number[]> => {
    const { result } = await measure(folder, "whale", ...sizes, "--payload-bytes", "1000", ...args);
    const ours = result.rows.filter(({ target }) => target.startsWith("whalesong "));
    for (const { deliveries, publishes } of ours) t.equal(deliveries, publishes! * 20);
    return ours.map((row) => row.wireBytes!);
  };
  for (const bytes of await wireBytes()) t.ok(bytes > 1_000, `${bytes} bytes`);
  for (const bytes of await wireBytes("--deflate")) t.ok(bytes > 300 && bytes < 900, `${bytes} bytes`);
});

await tap.test("a broker that does not compress is found out by --deflate", async (t) => {
  const broker = await startBroker(t);
  const { status, stderr } = await bench("whale", "--url", broker.url, "--online", "5", "--deflate");
  t.equal(status, 1);
  t.match(stderr, /the broker compresses nothing \(serve --compress\), or refused/);
});

await tap.test("idle starts the broker anew over the follows that were made", async (t) => {
  const folder = t.testdir({});
  const { result } = await measure(folder, "idle", "--scale", "0.002", "--follows", "3");
  t.match(result.rows[0]!.name, "20 sessions, each following 3");
  t.ok(result.rows[0]!.notes.includes("Garbage was collected before each look."));
});

await tap.test("with a token of scope backend, which no result tells", async (t) => {
  const broker = await startBroker(t, { authSecret: secret });
  const folder = t.testdir({});
  const token = await tokenFor("loader", { scope: "read write backend" });
  const at = ["--url", broker.url.replace(/^http/, "ws"), "--token", token];
  const sizes = ["--online", "10", "--in-flight", "2", "--paced", "200", "--seconds", "0.3"];
  const { result, json, stdout } = await measure(folder, "whale", ...at, ...sizes);
  for (const { deliveries, publishes } of result.rows) t.equal(deliveries, publishes! * 10);
  t.notMatch(json, token);
  t.notMatch(stdout, token);

  const { status, stderr } = await bench("whale", ...at.slice(0, 2), ...sizes);
  t.not(status, 0);
  t.match(stderr, /unauthenticated/, "without one it is told what the broker said");
});
