/* Own folder: brokers in processes of their own on a folder of the test's, and what they are asked. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Test } from "tap";

import { BrokerProcess } from "../crash/broker-process.ts";

export async function folder(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "whalesong-in-use-"));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return join(path, "data");
}

interface Started {
  by?: string[];
  flags?: string[];
}

export async function start(
  t: Test,
  data: string,
  { by = [], flags = [] }: Started = {},
): Promise<BrokerProcess & { log: () => string }> {
  let log = "";
  const broker = await BrokerProcess.launch(
    ["--data", data, "--port", "0", "--log-level", "warn", ...flags],
    {
      by,
      onLog: (text) => (log += text),
    },
  );
  t.teardown(() => (broker.hasEnded ? undefined : broker.kill()));
  return Object.assign(broker, { log: () => log });
}

export async function publish(
  { url }: { url: string },
  text: string,
): Promise<{ status: number; code?: string }> {
  const answer = await fetch(`${url}/v1/posts?user=alice`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text }),
  });
  const { error } = (await answer.json()) as { error?: { code: string } };
  return error === undefined ? { status: answer.status } : { status: answer.status, code: error.code };
}

export async function postsOf({ url }: { url: string }): Promise<number> {
  const answer = await fetch(`${url}/v1/streams/user%3Aalice?user=bob&limit=100`);
  return ((await answer.json()) as { items: unknown[] }).items.length;
}

/** Why it is not ready; undefined when it is. */
export async function unready({ url }: { url: string }): Promise<string | undefined> {
  const answer = await fetch(`${url}/readyz`);
  return answer.status === 200 ? undefined : await answer.text();
}
