/* One stream, subscribed again and again on one session: a few times, since each is sent all of it. */

import tap from "tap";

import { limits } from "../../protocol/index.ts";
import { brokerFor } from "../workers/broker-under-test.ts";

for (const codec of ["json", "msgpack"] as const)
  await tap.test(
    `the same stream and filter is open ${limits.sameStream} times at most (${codec})`,
    async (t) => {
      const broker = await brokerFor(t);
      const client = await broker.connect("alice", { codec });
      await client.request("post", { text: "makes alice a user" });
      for (const stream of ["home", "mentions", "user:alice", "tag:node", "firehose"]) {
        const asked = Array.from({ length: limits.subscriptions }, (_, i) =>
          client.request("subscribe", { stream, sub: i + 1, from: i % 2 === 0 ? "live" : "earliest" }).then(
            () => i + 1,
            (error: { code: string; message: string }) => error,
          ),
        );
        const answers = await Promise.all(asked); // sent without waiting
        const open = answers.filter((answer) => typeof answer === "number");
        t.equal(open.length, limits.sameStream, stream);
        for (const answer of answers)
          if (typeof answer !== "number")
            t.match(answer, { code: "conflict", message: /^stream: .* as \d+, \d+/ });
        await client.request("unsubscribe", { sub: open[0] });
        const { sub: again } = await client.request("subscribe", { stream, from: "live" }); // there is room again
        for (const sub of [again, ...open.slice(1)]) await client.request("unsubscribe", { sub });
      }
    },
  );

await tap.test(
  "another filter is another subscription; the one that is meant without one is the same",
  async (t) => {
    const broker = await brokerFor(t);
    const client = await broker.connect("alice");
    for (let i = 0; i < limits.sameStream; i++) {
      await client.request("subscribe", {
        stream: "home",
        from: "live",
        ...(i === 0 ? { filter: { replies: "followed" } } : {}),
      });
      await client.request("subscribe", { stream: "home", from: "live", filter: { replies: "all" } });
      await client.request("subscribe", { stream: "mentions", from: "live", filter: { from: "mutuals" } });
      await client.request("subscribe", { stream: "mentions", from: "live" });
    }
    for (const filter of [{ replies: "followed" }, { replies: "all" }, {}])
      await t.rejects(client.request("subscribe", { stream: "home", from: "live", filter }), {
        code: "conflict",
      });
  },
);
