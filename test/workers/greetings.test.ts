/* Greetings: a worker that does not answer them is ended, but one that only starts slowly is waited for. */

import tap from "tap";

import { Seat } from "../../broker/workers/seat.ts";
import { WorkerBroker } from "./worker-broker.ts";

await tap.test(
  "a worker that starts slowly is waited for; one that serves and then falls silent is ended",
  async (t) => {
    const broker = await WorkerBroker.for(t, 1);
    const served = deferred<undefined>();
    const ended = deferred<string>();
    const seat = new Seat({
      number: 2,
      core: broker.core,
      metricsText: async () => "",
      onServing: () => served.resolve(undefined),
      onEnd: (reason) => ended.resolve(reason),
      onOverRead: () => {},
    });
    t.teardown(() => seat.kill());

    process.kill(seat.pid!, "SIGSTOP");
    for (let greeting = 0; greeting < 60; greeting++) seat.check();
    process.kill(seat.pid!, "SIGCONT");
    t.equal(
      await Promise.race([served.promise, ended.promise]),
      undefined,
      "a minute of greetings went unanswered while it started",
    );

    process.kill(seat.pid!, "SIGSTOP");
    for (let greeting = 0; greeting < 60; greeting++) seat.check();
    t.match(await ended.promise, /no answer to 20 greetings/);
  },
);

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let settle: ((value: T) => void) | undefined;
  const promise = new Promise<T>((resolve) => {
    settle = resolve;
  });
  return { promise, resolve: (value) => settle?.(value) };
}
