/* Store bytes: how large the broker's store is, by its own metrics. */

import { type ConnectionOptions, httpAddresses } from "../connection.ts";

/** Used bytes of a broker's LMDB file, of the first that tells where there are several; undefined where none does. */
export async function readStoreBytes(options: ConnectionOptions): Promise<number | undefined> {
  for (const address of httpAddresses(options.url, "/metrics")) {
    const bytes = await readFrom(address, options.token);
    if (bytes !== undefined) return bytes;
  }
  return undefined;
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
