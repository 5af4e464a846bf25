/* Cursors from node to node, a rolling restart, and the runbook with the configuration as it is shipped, once more with a current nats-server. */

import tap from "tap";

import { againWithCurrentNats } from "./nats.ts";

await againWithCurrentNats(tap, [
  "cursors.test.ts",
  "gossip.test.ts",
  "gossip-random.test.ts",
  "rolling.test.ts",
  "deploy.test.ts",
  "runbook.test.ts",
]);
