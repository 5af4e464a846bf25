/* Workers agree: what was answered by one is so at every other, at once. */

import tap from "tap";

import { tailSize } from "../../broker/streams/tail.ts";
import { type Message, SessionClient, offsetOf } from "../sessions/session-client.ts";
import { secret, tokenFor } from "../transports/server.ts";
import { WorkerBroker } from "./worker-broker.ts";

const rounds = 40;

await tap.test(
  "a post that was answered is there at another worker, and gone there once its delete was",
  async (t) => {
    const broker = await WorkerBroker.for(t, 2);
    const [one, other] = await broker.connectToEach(["alice", "bob"]);
    for (let i = 0; i < rounds; i++) {
      const { id } = await one!.request("post", { text: `post ${i}`, tags: ["t"] });
      t.match(await other!.request("get", { post: id }), { post: { text: `post ${i}` } });
      const page = await other!.request("read", { stream: "user:alice", limit: 1 });
      t.match(page, { items: [{ post: { id } }] });
      await one!.request("delete", { post: id });
      await t.rejects(other!.request("get", { post: id }), { code: "not_found" });
      t.match(await other!.request("read", { stream: "user:alice", limit: 1 }), {
        items: [{ event: "delete", id }],
      });
    }
    const caught = await other!.subscribeLive("user:alice", { from: "earliest" });
    const kinds = caught.events.map(({ event }) => event).slice(0, -1);
    t.same(new Set(kinds), new Set(["delete"]), "catch-up shows none of the deleted");
    t.equal(kinds.length, rounds);
  },
);

await tap.test("a follow through one worker is seen live by a home at another", async (t) => {
  const broker = await WorkerBroker.for(t, 2);
  const [phone, laptop, author] = await broker
    .connectToEach(["ann", "ann"])
    .then(async ([a, b]) => [a!, b!, await broker.connectTo(1, "bob")]);
  const home = await laptop!.subscribeLive("home", { from: "live" });
  const expected: unknown[] = [];
  for (let i = 0; i < rounds; i++) {
    await phone!.request("follow", { user: "bob" });
    expected.push((await author!.request("post", { text: `seen ${i}` }))["id"]);
    await phone!.request("unfollow", { user: "bob" });
    await author!.request("post", { text: `not seen ${i}` });
    t.match(await laptop!.request("relationship", { user: "bob" }), { following: false });
  }
  const last = await phone!.request("post", { text: "mine" });
  await laptop!.until(() =>
    home.events.some(({ cursor, event }) => event === "post" && cursor === last["cursor"]),
  );
  const ids = home.events
    .filter(({ event }) => event === "post")
    .map(({ post }) => (post as { id: string }).id);
  t.same(ids, [...expected, last["id"]]);
});

await tap.test("live at one worker begins after what was answered by another", async (t) => {
  const broker = await WorkerBroker.for(t, 2);
  const [one, other] = await broker.connectToEach(["alice", "bob"]);
  for (let i = 0; i < rounds; i++) {
    const { cursor } = await one!.request("post", { text: `${i}` });
    const inbox = await other!.subscribe("user:alice", { from: "live" });
    t.ok(offsetOf(inbox.start) >= offsetOf(cursor));
    await other!.unsubscribe(inbox);
    const from = await other!.subscribe("user:alice", { from: cursor });
    t.equal(from.start, cursor, "a cursor that another worker gave is not of the future");
    await other!.request("ack", { sub: from.sub, cursor });
    await other!.unsubscribe(from);
  }
  const { epoch } = broker.core.state.positions;
  await t.rejects(other!.subscribe("user:alice", { from: `${epoch}-999999` }), { code: "cursor_in_future" });
});

await tap.test(
  "a reader that moves to another worker resumes with what it acknowledged before",
  async (t) => {
    const broker = await WorkerBroker.for(t, 2);
    const author = await broker.connect("author");
    const cursors: string[] = [];
    for (let i = 0; i < rounds; i++)
      cursors.push((await author.request("post", { text: `${i}` }))["cursor"] as string);
    const [one, other] = await broker.connectToEach(["ann", "ann"], "phone");
    await one!.request("cursor", { stream: "user:author", set: "earliest" });
    let reader = one!;
    let next = other!;
    for (const cursor of cursors) {
      const { sub } = await reader.subscribeLive("user:author");
      reader.send({ op: "ack", sub, cursor });
      await reader.request("ack", { sub, cursor });
      const inbox = await next.subscribe("user:author");
      t.equal(inbox.start, cursor);
      await next.unsubscribe(inbox);
      await reader.request("unsubscribe", { sub });
      [reader, next] = [next, reader];
    }
    const late = await one!.subscribe("user:author");
    await other!.request("cursor", { stream: "user:author", set: cursors[2] });
    await one!.request("ack", { sub: late.sub, cursor: cursors.at(-1) });
    const { cursor } = await one!.request("cursor", { stream: "user:author" });
    t.equal(cursor, cursors[2], "a seek at one outdates what is acknowledged at the other");
  },
);

await tap.test("a floor that moved holds at every worker at once", async (t) => {
  const broker = await WorkerBroker.for(t, 2);
  const [one, other] = await broker.connectToEach(["alice", "bob"]);
  await one!.request("cursor", { stream: "home", set: "live" }); // who keeps something stays a user
  for (let i = 0; i < rounds; i++) {
    const { id, cursor: first } = await one!.request("post", { text: "first" });
    const { cursor: second } = await one!.request("post", { text: "second" });
    t.ok(await other!.request("get", { post: id }), "kept in memory there");
    await broker.trim(offsetOf(second));
    const refused = { code: "cursor_too_old", details: { floor: second as string } };
    await t.rejects(other!.request("get", { post: id }), { code: "not_found" });
    await t.rejects(other!.subscribe("user:alice", { from: first }), refused);
    await t.rejects(other!.request("read", { stream: "user:alice", after: first }), refused);
    t.match(await other!.request("read", { stream: "user:alice" }), { items: [] });
    const inbox = await other!.subscribe("user:alice", { from: "earliest" });
    t.equal(inbox.start, second);
    await other!.unsubscribe(inbox);
  }
});

await tap.test("retention leaves what a worker has not heard", async (t) => {
  const broker = await WorkerBroker.for(t, 2, { retainCount: 1 });
  const [author, reader] = await broker.connectToEach(["alice", "bob"]);
  const inbox = await reader!.subscribeLive("user:alice", { from: "live" });
  const sent: unknown[] = [];
  let floor = 0;
  while (floor < 200) {
    const answers = Array.from({ length: 64 }, () => author!.request("post", { text: "soon gone" }));
    for (const answer of answers) sent.push((await answer)["cursor"]);
    floor = broker.core.state.meta.floor;
  }
  await reader!.until(() => inbox.events.some(({ cursor }) => cursor === sent.at(-1)));
  const cursors = inbox.events.filter(({ event }) => event === "post").map(({ cursor }) => cursor);
  t.same(cursors, sent);
});

await tap.test("a user's rate is one for all workers", async (t) => {
  const burst = 20;
  const broker = await WorkerBroker.for(t, 2, { userBurst: burst, userRate: 0.001, authSecret: secret });
  const token = await tokenFor("alice");
  const [one, other] = [await SessionClient.open(broker.url), await SessionClient.open(broker.url)];
  for (const client of [one, other]) await client.request("hello", { token });
  t.same([await broker.sessionsOf(1), await broker.sessionsOf(2)], [1, 1]);
  const answers = Array.from({ length: 2 * burst }, (_, i) =>
    (i % 2 === 0 ? one : other).request("post", { text: `${i}` }).then(
      () => "posted",
      ({ code, details }: { code: string; details: { retryAfterMs?: number } }) =>
        `${code} ${details.retryAfterMs! > 0}`,
    ),
  );
  const told = await Promise.all(answers);
  t.equal(told.filter((answer) => answer === "posted").length, burst);
  t.equal(told.filter((answer) => answer === "rate_limited true").length, burst);
});

await tap.test("what a user has read at one worker counts at every other", async (t) => {
  const broker = await WorkerBroker.for(t, 2, { userReadBurst: 30, userReadRate: 1, authSecret: secret });
  const [one, other] = [await SessionClient.open(broker.url), await SessionClient.open(broker.url)];
  for (const client of [one, other]) await client.request("hello", { token: await tokenFor("alice") });
  t.same([await broker.sessionsOf(1), await broker.sessionsOf(2)], [1, 1]);
  let answered = 0;
  while (answered < 100 && (await read(one)) === "ok") answered++;
  t.ok(answered >= 2 && answered < 100, `${answered} pages at one worker`);
  // The other worker was told when the one was; the answer to a command comes behind that.
  await other.request("post", { text: "to write is another thing" });
  t.equal(await read(other), "rate_limited true");
});

await tap.test("an author's last post is known to a worker that had looked for it before", async (t) => {
  const broker = await WorkerBroker.for(t, 1);
  const bob = await broker.connect("bob");
  const ann = await broker.connect("ann");
  await ann.request("follow", { user: "bob" });
  const first = await bob.request("post", { text: "first" });
  await passTail(broker);
  const before = await ann.subscribeLive("home", { from: "earliest" });
  t.same(postsOf(before.events), [first["id"]]);
  await ann.unsubscribe(before);
  const second = await bob.request("post", { text: "second" });
  await passTail(broker);
  const after = await ann.subscribeLive("home", { from: first["cursor"] });
  t.same(postsOf(after.events), [second["id"]]);
});

/** So many commands which come to nothing that what was before is found by merging topics alone. */
async function passTail({ core }: WorkerBroker): Promise<void> {
  for (let done = 0; done < tailSize; done += 4_096) {
    const nothing = { op: "unfollow", user: "nobody", target: "anybody" } as const;
    await Promise.all(Array.from({ length: 4_096 }, () => core.log.append({ ...nothing })));
  }
}

function postsOf(events: Message[]): unknown[] {
  return events.filter(({ event }) => event === "post").map(({ post }) => (post as { id: string }).id);
}

/** What becomes of a page of one's home. */
function read(client: SessionClient): Promise<string> {
  return client.request("read", { stream: "home" }).then(
    () => "ok",
    ({ code, details }: { code: string; details: { retryAfterMs?: number } }) =>
      `${code} ${details.retryAfterMs! > 0}`,
  );
}
