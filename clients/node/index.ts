/* whalesong/client on Node.js.
 *
 *     import { connect } from "whalesong/client";
 *
 *     const me = await connect("ws://127.0.0.1:5252", { user: "alice", device: "laptop" });
 *     await me.follow("bob");
 *     for await (const event of me.stream("home")) {
 *       if (event.event === "post") console.log(event.post.author, event.post.text);
 *     }
 */

import { type Client, connectOn } from "../core/client.ts";
import type { ConnectOptions } from "../core/options.ts";
import { compressingPlatform, nodePlatform } from "./platform.ts";

export * from "../core/index.ts";

export interface NodeConnectOptions extends ConnectOptions {
  /** Asks the broker for compression: fewer bytes on a slow or metered network, for some CPU here. Browsers always ask.
   *  @default false */
  compress?: boolean;
}

/** Connects to a broker: one URL, or several of one cluster, as a list or in one text with commas between. Each client
 *  begins at one chosen at random, and moves on to another when a node fails, says goodbye or refuses as `unavailable`.
 *  ws, wss, http and https are understood, and `/v1/ws` is added when missing.
 *  @throws WhalesongError, ConnectionError, or the signal's reason. */
export function connect(
  url: string | readonly string[],
  { compress = false, ...options }: NodeConnectOptions = {},
): Promise<Client> {
  return connectOn(compress ? compressingPlatform : nodePlatform, url, options);
}
