/* A broker's end: it waits for what was asked, and not for who asks nothing. */

import { once } from "node:events";
import { connect } from "node:net";

import tap from "tap";

import { Broker } from "../../broker/index.ts";

/** Half of what Node.js gives a client for its headers: who waits for that has waited too long. */
const longMs = 30_000;

await tap.test("a connection on which nothing was asked does not keep a broker from its end", async (t) => {
  const broker = await Broker.start({ port: 0, data: t.testdir(), logLevel: "silent" });
  const socket = connect(Number(new URL(broker.url).port), "127.0.0.1");
  await once(socket, "connect");
  t.equal(
    (await fetch(`${broker.url}/healthz`)).status,
    200,
    "it was taken: another that came later was answered",
  );
  const ended = once(socket, "close");
  socket.resume();
  const tooLong = AbortSignal.timeout(longMs);
  await Promise.race([broker.stop(0), once(tooLong, "abort")]);
  t.notOk(tooLong.aborted);
  await ended;
});
