/* One stream, subscribed again and again on one session: it is open once, since each subscription is sent all of it. */

import tap from "tap";

import { SessionBroker } from "./session-broker.ts";
import { brokerFor } from "../workers/broker-under-test.ts";

const times = 64;

for (const codec of ["json", "msgpack"] as const)
  await tap.test(`the same stream and filter is open once (${codec})`, async (t) => {
    const broker = await brokerFor(t);
    const client = await broker.connect("alice", { codec });
    await client.request("post", { text: "makes alice a user" });
    for (const stream of ["home", "mentions", "user:alice", "user:nobody", "tag:node", "firehose"]) {
      const asked = Array.from({ length: times }, (_, i) =>
        client.request("subscribe", { stream, sub: i + 1, from: i % 2 === 0 ? "live" : "earliest" }).then(
          () => i + 1,
          (error: { code: string; message: string }) => error,
        ),
      );
      const answers = await Promise.all(asked); // sent without waiting
      const open = answers.filter((answer) => typeof answer === "number");
      t.equal(open.length, 1, stream);
      for (const answer of answers)
        if (typeof answer !== "number")
          t.match(answer, {
            code: "conflict",
            message: `as subscription ${open[0]}:`,
            details: { field: "stream" },
          });
      await client.request("unsubscribe", { sub: open[0] });
      const { sub: again } = await client.request("subscribe", { stream, from: "live" }); // there is room again
      await client.request("unsubscribe", { sub: again });
    }
  });

await tap.test(
  "another filter is another subscription; what a filter leaves out is as if it were said",
  async (t) => {
    const broker = await brokerFor(t);
    const client = await broker.connect("alice");
    for (const [stream, filter] of [
      ["home", { replies: "followed" }],
      ["home", { replies: "all" }],
      ["mentions", { from: "mutuals" }],
      ["mentions", {}],
    ] as const)
      await client.request("subscribe", { stream, filter, from: "live" });
    for (const filter of [{ replies: "followed" }, { replies: "all" }, {}])
      await t.rejects(client.request("subscribe", { stream: "home", from: "live", filter }), {
        code: "conflict",
      });
  },
);

await tap.test("who reads as several users has each one's stream once", async (t) => {
  const broker = await SessionBroker.for(t, { scopes: ["read", "write", "backend"] });
  const client = await broker.connect("backend");
  for (const as of ["alice", "bob"]) {
    await client.request("subscribe", { stream: "home", as, from: "live" });
    await t.rejects(client.request("subscribe", { stream: "home", as, from: "live" }), { code: "conflict" });
  }
});
