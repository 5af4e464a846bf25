/* Service: what a broker's core and its `Broker` need of what serves the clients. Apart from broker.ts, whose types the package
 * hands out: these lead to the store's. */

import type { AddressInfo } from "node:net";

import type { Audience } from "./core.ts";

/** What stands between the core and the clients. */
export interface Service extends Audience {
  /** Lets clients in. @throws the error of a port that cannot be listened on */
  start(): Promise<void>;
  readonly address: AddressInfo;
  /** The whole broker's metrics, in Prometheus' text format. */
  metricsText(): Promise<string>;
  /** How many clients are connected. */
  countSessions(): number | Promise<number>;
  /** Takes no new connections, and lets all sessions go over `drainMs`. */
  drain(drainMs: number): Promise<void>;
  /** Lets go of what is left, once the log is closed and has told all. */
  close(): Promise<void>;
}

/** Where a broker listens: `http://127.0.0.1:5252`. */
export function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}
