/* `--sync periodic`: answers come before the disk, so after an unclean stop no cursor from before is believed. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tap from "tap";

import { BrokerProcess } from "./broker-process.ts";

interface Published {
  id: string;
  cursor: string;
}

async function publish({ url }: BrokerProcess): Promise<Published> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ text: "a post" });
  const answer = await fetch(`${url}/v1/posts?user=alice`, { method: "POST", headers, body });
  return (await answer.json()) as Published;
}

function epochOf({ cursor }: Published): string {
  return cursor.split("-")[0]!;
}

/** The error's code of a read after `cursor`, or the number of items. */
async function readAfter({ url }: BrokerProcess, cursor: string): Promise<string | number> {
  const answer = await fetch(`${url}/v1/streams/user%3Aalice?user=bob&after=${cursor}`);
  const page = (await answer.json()) as { items?: unknown[]; error?: { code: string } };
  return page.error?.code ?? page.items!.length;
}

async function isThere({ url }: BrokerProcess, { id }: Published): Promise<boolean> {
  return (await fetch(`${url}/v1/posts/${id}?user=bob`)).status === 200;
}

await tap.test("the epoch changes after an unclean stop of a periodic broker, and only then", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const start = (sync: "always" | "periodic"): Promise<BrokerProcess> =>
    BrokerProcess.start(folder, "--sync", sync);

  let broker = await start("always");
  const first = await publish(broker);
  await broker.kill();

  broker = await start("periodic");
  const second = await publish(broker);
  t.equal(epochOf(second), epochOf(first), "killed, but it answered nothing before the disk");
  await broker.stop();

  broker = await start("periodic");
  const third = await publish(broker);
  t.equal(epochOf(third), epochOf(first), "stopped cleanly");
  t.equal(await readAfter(broker, first.cursor), 2);
  await broker.kill();

  broker = await start("always");
  const fourth = await publish(broker);
  t.not(epochOf(fourth), epochOf(first), "killed while it answered early");
  t.equal(await readAfter(broker, first.cursor), "epoch_mismatch");
  t.ok(await isThere(broker, first), "an id from before still names its post");
  t.ok(await isThere(broker, fourth));
  await broker.kill();

  broker = await start("always");
  t.equal(epochOf(await publish(broker)), epochOf(fourth), "once is enough");
  await broker.stop();
});
