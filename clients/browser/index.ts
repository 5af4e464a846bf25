/* whalesong/client in browsers: the same API as on Node.js, over the native WebSocket.
 *
 *     <script type="module">
 *       import { connect } from "/client.js";
 *       const me = await connect(location.origin, { user: "alice", device: "browser" });
 *       for await (const event of me.stream("home")) console.log(event);
 *     </script>
 */

import { type Client, connectOn } from "../core/client.ts";
import type { ConnectOptions } from "../core/options.ts";
import { browserPlatform } from "./platform.ts";

export * from "../core/index.ts";

/** Connects to a broker: one URL, or several that serve the same users. ws, wss, http and https are understood, and
 *  `/v1/ws` is added when missing. @throws WhalesongError, ConnectionError, or the signal's reason. */
export function connect(url: string | readonly string[], options: ConnectOptions = {}): Promise<Client> {
  return connectOn(browserPlatform, url, options);
}
