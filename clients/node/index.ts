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
import { nodePlatform } from "./platform.ts";

export * from "../core/index.ts";

/** Connects to a broker: one URL, or several that serve the same users. ws, wss, http and https are understood, and
 *  `/v1/ws` is added when missing. @throws WhalesongError, ConnectionError, or the signal's reason. */
export function connect(url: string | readonly string[], options: ConnectOptions = {}): Promise<Client> {
  return connectOn(nodePlatform, url, options);
}
