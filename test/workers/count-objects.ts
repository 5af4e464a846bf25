/* Tells, at SIGUSR2, how many objects of what a client's session is made of are alive after a full garbage collection.
 *
 * Loaded into worker processes before the broker's own code (`--import`), by the test that asks: each answers into a file
 * named by its process id, in the folder WHALESONG_COUNTS. */

import { renameSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import * as v8 from "node:v8";

import { Outbox } from "../../broker/sessions/outbox.ts";
import { Session } from "../../broker/sessions/session.ts";
import { Subscription } from "../../broker/streams/index.ts";

const classes = { Session, Subscription, Outbox, Socket };
export type Counts = Record<keyof typeof classes, number>;

process.on("SIGUSR2", () => {
  const counts = Object.fromEntries(
    Object.entries(classes).map(([name, each]) => [name, v8.queryObjects(each, { format: "count" })]),
  );
  const file = join(process.env["WHALESONG_COUNTS"]!, String(process.pid));
  writeFileSync(`${file}.new`, JSON.stringify(counts));
  renameSync(`${file}.new`, file);
});
