/* A broker for tests of what any broker promises: in one process, or with workers. */

import type { Test } from "tap";

import type { Offset } from "../../broker/state/index.ts";
import type { Positions } from "../../broker/state/positions.ts";
import { SessionBroker } from "../sessions/session-broker.ts";
import type { SessionClient, SessionClientOptions } from "../sessions/session-client.ts";
import { workers } from "./count.ts";
import { WorkerBroker } from "./worker-broker.ts";

export interface BrokerUnderTest {
  readonly url: string;
  /** Faults of the broker itself: there must be none. */
  readonly faults: unknown[];
  readonly positions: Positions;
  /** The newest offset that is durable. */
  readonly head: Offset;
  connect(user: string, options?: Omit<SessionClientOptions, "user">): Promise<SessionClient>;
  /** Removes all entries up to `floor`. */
  trim(floor: Offset): Promise<void>;
  /** Quiet streams are told their cursor, or have been. */
  tick(): Promise<void>;
  sessionCount(): Promise<number>;
  stop(): Promise<void>;
}

/** With as many workers as the tests are run with. */
export function startBroker(folder: string): Promise<BrokerUnderTest> {
  return workers === 0 ? SessionBroker.start(folder) : WorkerBroker.start(folder, workers);
}

/** One in a folder of its own, both gone when the test ends. */
export function brokerFor(t: Test): Promise<BrokerUnderTest> {
  return workers === 0 ? SessionBroker.for(t) : WorkerBroker.for(t, workers);
}
