/* Faults of NATS and of nodes, once more with a current nats-server. */

import tap from "tap";

import { againWithCurrentNats } from "./nats.ts";

await againWithCurrentNats(tap, [
  "faults/nats-leader.test.ts",
  "faults/nats-away.test.ts",
  "faults/log-replaced.test.ts",
  "faults/node-killed.test.ts",
  "faults/chaos.test.ts",
]);
