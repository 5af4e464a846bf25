/* A broker of its own for a test. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import type { BrokerOptions } from "../../broker/options.ts";
import { workers } from "../workers/count.ts";

/** Starts a broker in open mode with a folder of its own; both are gone when the test ends. */
export async function startBroker(t: Test, options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const data = await mkdtemp(join(tmpdir(), "whalesong-cli-"));
  const broker = await Broker.start({ port: 0, data, logLevel: "silent", workers, ...options });
  t.teardown(async () => {
    await broker.stop(0);
    await rm(data, { recursive: true });
  });
  return broker;
}
