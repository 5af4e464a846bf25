/* A worker process. Started by seat.ts, and by nothing else.
 *
 * It lives no longer than the process that started it, and heeds no signal that a terminal or a service manager sends to
 * all processes of a group: the process that started it says when to stop. */

import { Socket } from "node:net";

import { CoreLink } from "./core-link.ts";
import { type ToWorker, channelFd } from "./messages.ts";
import { Worker } from "./worker.ts";

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
const endAtOnce = (): void => process.exit(1);
process.on("disconnect", endAtOnce);

let worker: Worker | undefined;
const link = new CoreLink(new Socket({ fd: channelFd }), {
  onMessage: receive,
  onClosed: endAtOnce,
  onUnreadable: endAtOnce,
  onUnsendable: (message, error) => worker!.unsendable(message, error),
});

function receive(message: ToWorker): void {
  if (message[0] === "start") void start(message);
  else worker?.receive(message);
}

async function start([, number, options]: Extract<ToWorker, ["start", ...unknown[]]>): Promise<void> {
  try {
    worker = await Worker.create(link, number, options);
    process.on("message", (_message, socket) => worker!.accept(socket as Socket | undefined));
  } catch (error) {
    link.send(["failed", (error as Error).message]);
  }
}
