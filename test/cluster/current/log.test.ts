/* The log, snapshots and who may enter, once more with a current nats-server. */

import tap from "tap";

import { againWithCurrentNats } from "./nats.ts";

await againWithCurrentNats(tap, [
  "nats-server.test.ts",
  "log.test.ts",
  "join.test.ts",
  "objects.test.ts",
  "snapshots.test.ts",
  "lease.test.ts",
  "keeper.test.ts",
  "credentials.test.ts",
  "rights.test.ts",
  "commands.test.ts",
]);
