/* Readiness that is true: a broker says that it does not serve when its disk takes nothing, whether or not anybody asks for
 * something, and says so no longer when it does. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import tap, { type Test } from "tap";

import { Readiness, type ReadinessTopic, appendReason, cursorReason } from "../../broker/readiness.ts";
import { connect } from "../../clients/node/index.ts";
import { BrokerProcess } from "../crash/broker-process.ts";
import { SlowDisk } from "../slow-disk.ts";
import { budget } from "../pace.ts";

/** Longer than a command may wait, and cursors. */
const stallMs = 8_000;
const missing = SlowDisk.missing();
const skip = missing !== undefined && process.env["CI"] !== "true" && missing;

tap.setTimeout(budget(240_000));

async function start(t: Test, ...flags: string[]): Promise<BrokerProcess> {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
  const broker = await BrokerProcess.start(folder, ...flags);
  t.teardown(async () => {
    await broker.kill();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  return broker;
}

/** Settles once `/readyz` has this status, with what it says. */
async function until({ url }: BrokerProcess, status: number): Promise<string> {
  for (;;) {
    const answer = await fetch(`${url}/readyz`);
    const text = await answer.text();
    if (answer.status === status) return text;
    await sleep(50);
  }
}

await tap.test("the first topic in the order that has a reason is told", async (t) => {
  const readiness = new Readiness();
  const reasons = new Map<ReadinessTopic, string>();
  const topics: ReadinessTopic[] = ["cursors", "append", "log", "clock", "files", "life"];
  for (const topic of topics) readiness.set(topic, () => reasons.get(topic));
  t.equal(readiness.reason, undefined);
  for (const topic of topics) {
    reasons.set(topic, `for ${topic}`);
    t.equal(readiness.reason, `for ${topic}`);
  }
  reasons.delete("life");
  t.equal(readiness.reason, "for files");
});

await tap.test("a command may wait for 2 s, and cursors for 5 s", async (t) => {
  t.equal(appendReason(1_999), undefined);
  t.match(appendReason(2_000), /a command has waited 2 s/);
  t.equal(cursorReason(4_999), undefined);
  t.match(cursorReason(5_000), /cursors have not been written for 5 s/);
});

await tap.test(
  "a disk that has stalled is noticed by an idle broker, and that it goes on",
  { skip },
  async (t) => {
    const broker = await start(t);
    await until(broker, 200);
    const disk = await SlowDisk.under(broker.pid, stallMs);
    t.teardown(() => disk.end());
    t.match(await until(broker, 503), /a command has waited \d+ s to be durable/);
    await disk.end();
    await until(broker, 200);
  },
);

await tap.test(
  "a post that waits for the disk makes the broker unready, and is answered",
  { skip },
  async (t) => {
    const broker = await start(t);
    const disk = await SlowDisk.under(broker.pid, stallMs);
    t.teardown(() => disk.end());
    const me = await connect(broker.url, { user: "alice" });
    t.teardown(() => me.close());
    const posted = me.post("hello");
    t.match(await until(broker, 503), /a command has waited \d+ s to be durable/);
    await disk.end();
    t.type((await posted).id, "string");
    await until(broker, 200);
  },
);
