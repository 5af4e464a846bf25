/* Store bytes: how large the broker's store is, by its own metrics. */

import { type ConnectionOptions, httpAddress } from "../connection.ts";

/** Used bytes of the broker's LMDB file; undefined where the broker does not tell. */
export async function readStoreBytes(options: ConnectionOptions): Promise<number | undefined> {
  try {
    const answer = await fetch(httpAddress(options.url, "/metrics"), {
      headers: options.token === undefined ? {} : { authorization: `Bearer ${options.token}` },
    });
    const metrics = await answer.text();
    const [, value] = /^whalesong_store_bytes(?:\{[^}]*\})? (\S+)/m.exec(metrics) ?? [];
    return answer.ok && value !== undefined ? Number(value) : undefined;
  } catch {
    return undefined;
  }
}
