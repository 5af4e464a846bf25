/* Greetings: a worker that does not answer them is ended, but one that only starts slowly is waited for. */

import tap from "tap";

import { Seat } from "../../broker/workers/seat.ts";
import { WorkerBroker } from "./worker-broker.ts";

await tap.test(
  "a worker that starts slowly is waited for; one that serves and then falls silent is ended",
  async (t) => {
    const broker = await WorkerBroker.for(t, 1);
    let onServing = (): void => {};
    const serving = new Promise<void>((resolve) => {
      onServing = resolve;
    });
    let onEnd = (_reason: string): void => {};
    const ended = new Promise<string>((resolve) => {
      onEnd = resolve;
    });
    const seat = new Seat({
      number: 2,
      core: broker.core,
      metricsText: async () => "",
      onServing,
      onEnd,
      onOverRead: () => {},
    });
    t.teardown(() => seat.kill());

    process.kill(seat.pid!, "SIGSTOP");
    for (let greeting = 0; greeting < 60; greeting++) seat.check();
    process.kill(seat.pid!, "SIGCONT");
    t.equal(
      await Promise.race([serving, ended]),
      undefined,
      "a minute of greetings went unanswered while it started",
    );

    process.kill(seat.pid!, "SIGSTOP");
    for (let greeting = 0; greeting < 60; greeting++) seat.check();
    t.match(await ended, /no answer to 20 greetings/);
  },
);
