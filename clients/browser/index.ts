/* whalesong/client in browsers: the same API as on Node.js, over the native WebSocket.
 *
 *     <script type="module">
 *       import { connect } from "http://127.0.0.1:5252/client.js";
 *       const me = await connect("http://127.0.0.1:5252", { user: "alice", device: "browser" });
 *       for await (const event of me.stream("home")) console.log(event);
 *     </script>
 *
 * The broker serves this module as one file. A page of another origin must be allowed by its --cors-origin. */

import { type Client, connectOn } from "../core/client.ts";
import type { ConnectOptions } from "../core/options.ts";
import { browserPlatform } from "./platform.ts";

export * from "../core/index.ts";

/** Connects to a broker: one URL, or several of one cluster, as a list or in one text with commas between. Each client
 *  begins at one chosen at random, and moves on to another when a node fails, says goodbye or refuses as `unavailable`.
 *  ws, wss, http and https are understood, and `/v1/ws` is added when missing.
 *  @throws WhalesongError, ConnectionError, or the signal's reason. */
export function connect(url: string | readonly string[], options: ConnectOptions = {}): Promise<Client> {
  return connectOn(browserPlatform, url, options);
}
