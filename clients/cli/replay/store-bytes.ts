/* Store bytes: how large the broker's store is, by its own metrics. */

import { setTimeout as sleep } from "node:timers/promises";

import { type ConnectionOptions, httpAddresses } from "../connection.ts";

/** A broker makes its metrics once a second at most, and one with workers twice over: read sooner, they may be those from before. */
const sharedMs = 2_100;
let readAt = -sharedMs;

/** Used bytes of a broker's LMDB file, of the first that tells where there are several; undefined where none does. */
export async function readStoreBytes(options: ConnectionOptions): Promise<number | undefined> {
  await sleep(Math.max(0, readAt + sharedMs - performance.now()));
  try {
    for (const address of httpAddresses(options.url, "/metrics")) {
      const bytes = await readFrom(address, options.token);
      if (bytes !== undefined) return bytes;
    }
    return undefined;
  } finally {
    readAt = performance.now();
  }
}

async function readFrom(address: URL, token: string | undefined): Promise<number | undefined> {
  try {
    const answer = await fetch(address, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });
    const metrics = await answer.text();
    const [, value] = /^whalesong_store_bytes(?:\{[^}]*\})? (\S+)/m.exec(metrics) ?? [];
    return answer.ok && value !== undefined ? Number(value) : undefined;
  } catch {
    return undefined;
  }
}
