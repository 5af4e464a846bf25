/* What a session may do changes: what it may no longer read ends then and there. */

import tap from "tap";

import type { WhalesongError } from "../../protocol/index.ts";
import { call, secret, startBroker, tokenFor } from "../transports/server.ts";
import { type Message, SessionClient } from "./session-client.ts";

const post = async (url: string, user: string, text: string): Promise<void> => {
  const answer = await call(url, "POST /v1/posts", { token: await tokenFor(user), body: { text } });
  if (answer.status !== 201) throw new Error(answer.text);
};

const textsOf = (events: Message[]): string[] =>
  events.filter(({ event }) => event === "post").map((event) => (event["post"] as { text: string }).text);

for (const codec of ["json", "msgpack"] as const) {
  await tap.test(`${codec}: a lesser token ends what it does not allow, and nothing else`, async (t) => {
    const { url } = await startBroker(t, { authSecret: secret });
    const client = await SessionClient.open(url, { codec });
    t.teardown(async () => client.terminate());
    await client.request("hello", { token: await tokenFor("alice", { scope: "read firehose backend" }) });
    const firehose = await client.subscribeLive("firehose");
    const ofBob = await client.subscribeLive("mentions", { as: "bob" });
    const ofCarol = await client.subscribeLive("user:carol");
    await post(url, "carol", "one @bob");
    await client.until(() => [firehose, ofBob, ofCarol].every(({ events }) => textsOf(events).length === 1));

    const renewed = await client.request("auth", { token: await tokenFor("alice", { scope: "read" }) });
    t.same(renewed["scopes"], ["read"]);
    for (const [inbox, scope] of [
      [firehose, "firehose"],
      [ofBob, "backend"],
    ] as const)
      t.match(
        inbox.events.at(-1),
        { event: "end", error: { code: "forbidden", message: scope } },
        "before the answer",
      );
    await post(url, "carol", "two @bob");
    await client.until(() => textsOf(ofCarol.events).length === 2);
    t.same([textsOf(firehose.events), textsOf(ofBob.events)], [["one @bob"], ["one @bob"]]);
    const { cursor } = ofCarol.events.at(-1)!;
    for (const { sub } of [firehose, ofBob])
      await t.rejects(client.request("ack", { sub, cursor }), { code: "not_found" });
    t.match(await client.request("ack", { sub: ofCarol.sub, cursor }), { cursor });

    await client.request("auth", { token: await tokenFor("alice", { scope: "write firehose" }) });
    t.match(
      ofCarol.events.at(-1),
      { event: "end", error: { code: "forbidden" } },
      "nothing goes on without read",
    );
    await t.rejects(client.subscribe("firehose"), { code: "forbidden" });
    await client.request("auth", { token: await tokenFor("alice", { scope: "read" }) });
    await client.subscribeLive("user:carol");
  });
}

await tap.test("a subscribe that crosses a lesser token on its way does not stay", async (t) => {
  const { url } = await startBroker(t, { authSecret: secret });
  const all = await tokenFor("alice", { scope: "read firehose backend" });
  const lesser = await tokenFor("alice", { scope: "read" });
  for (let round = 0; round < 10; round++) {
    const client = await SessionClient.open(url);
    await client.request("hello", { token: all });
    const outcomes: string[] = [];
    const subscribe = async (stream: string, fields: Message): Promise<void> => {
      const inbox = await client.subscribe(stream, fields);
      await client.until(() => inbox.events.some(({ event }) => event === "end"));
      outcomes.push((inbox.events.at(-1)!["error"] as WhalesongError).code);
    };
    const note = (error: WhalesongError): void => void outcomes.push(error.code);
    const before = subscribe("firehose", { sub: 1 }).catch(note);
    const acting = subscribe("mentions", { sub: 2, as: `new-${round}` }).catch(note); // makes a user first: that takes a while
    const renewing = client.request("auth", { token: lesser });
    const after = subscribe("mentions", { sub: 3, as: `newer-${round}` }).catch(note);
    await Promise.all([before, acting, renewing, after]);
    t.same(outcomes, ["forbidden", "forbidden", "forbidden"]);
    client.terminate();
  }
});

await tap.test(
  "pipelined hellos: what is behind them is judged by the last one that was accepted",
  async (t) => {
    const { url } = await startBroker(t, { authSecret: secret });
    const client = await SessionClient.open(url);
    t.teardown(async () => client.terminate());
    const strong = { token: await tokenFor("alice", { scope: "read firehose" }) };
    const [first, second, firehose, mentions] = await Promise.allSettled([
      client.request("hello", strong),
      client.request("hello", { token: await tokenFor("alice", { scope: "read", expires: 3e9 }) }),
      client.request("subscribe", { stream: "firehose" }),
      client.request("subscribe", { stream: "mentions" }),
    ]);
    t.match(first, { status: "fulfilled", value: { scopes: ["read", "firehose"] } });
    t.match(second, { status: "fulfilled", value: { scopes: ["read"], expiresAt: 3e12 } });
    t.match(firehose, { status: "rejected", reason: { code: "forbidden" } });
    t.match(mentions, { status: "fulfilled" });
    await t.rejects(client.request("hello", strong), { code: "conflict" });

    const other = await SessionClient.open(url);
    t.teardown(async () => other.terminate());
    const [mine, anothers, home, again] = await Promise.allSettled([
      other.request("hello", strong),
      other.request("hello", { token: await tokenFor("mallory") }),
      other.request("subscribe", { stream: "home" }),
      other.request("hello", { token: await tokenFor("mallory") }),
    ]);
    t.match(mine, { status: "fulfilled", value: { user: "alice" } });
    t.match(anothers, { status: "rejected", reason: { code: "conflict" } });
    t.match(home, { status: "fulfilled" });
    t.match(again, { status: "rejected", reason: { code: "conflict" } });
  },
);
