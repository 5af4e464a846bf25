/* The SDK against the real broker: what a user relies on, from the outside. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { SignJWT } from "jose";
import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import type { BrokerOptions } from "../../broker/options.ts";
import {
  type Client,
  connect,
  type ConnectOptions,
  type Disconnect,
  type Stream,
} from "../../clients/node/index.ts";
import { workers } from "../workers/count.ts";
import { nextEvent, quick } from "./session.ts";

for (const codec of ["msgpack", "json"] as const) {
  await tap.test(`${codec}: a follower and the mentioned get a post live; others do not`, async (t) => {
    const { meet } = await start(t);
    const [alice, bob, carol, dave] = await Promise.all(
      ["alice", "bob", "carol", "dave"].map((user) => meet({ user, codec })),
    );
    t.same(await alice!.follow("bob"), { state: "following" });
    const home = await live(alice!, "home");
    const mentions = await live(carol!, "mentions");
    const elsewhere = await live(dave!, "home");
    const { id } = await bob!.post("hi @carol #song", { data: { n: 1 } });
    const expected = {
      author: "bob",
      text: "hi @carol #song",
      mentions: ["carol"],
      tags: ["song"],
      data: { n: 1 },
    };
    t.match(await nextItem(home), { event: "post", post: { id, ...expected } });
    t.match(await nextItem(mentions), { event: "post", post: { id }, relation: "stranger" });
    await dave!.post("mine");
    t.match(await nextItem(elsewhere), { post: { text: "mine" } }, "nothing came before it");
    t.match(await alice!.get(id), { id, ...expected });
    t.match(await alice!.relationship("bob"), {
      user: "bob",
      following: true,
      followedBy: false,
      mutual: false,
    });
    t.match(await bob!.followers(), { users: ["alice"] });
    t.match(await alice!.following(), { users: ["bob"] });
  });
}

await tap.test("repost, delete, unfollow and pages are seen by who reads", async (t) => {
  const { meet } = await start(t);
  const alice = await meet({ user: "alice" });
  const bob = await meet({ user: "bob" });
  const carol = await meet({ user: "carol" });
  await alice.follow("bob");
  const home = await live(alice, "home");
  const original = await carol.post("the original");
  await bob.repost(original.id);
  t.match(await nextItem(home), { event: "repost", by: "bob", post: { id: original.id, author: "carol" } });
  const regretted = await bob.post("oops");
  t.match(await nextItem(home), { event: "post", post: { id: regretted.id } });
  await bob.delete(regretted.id);
  t.match(await nextItem(home), { event: "delete", id: regretted.id });
  await t.rejects(alice.get(regretted.id), { name: "WhalesongError", code: "not_found" });
  await t.rejects(alice.delete(original.id), { name: "WhalesongError" });
  t.match(await alice.unfollow("bob"), { state: "none" });
  const posts = await Promise.all(Array.from({ length: 7 }, (_, i) => carol.post(`page ${i}`)));
  const last = await alice.read("user:carol", { limit: 3 });
  t.same(texts(last.items), ["page 4", "page 5", "page 6"]);
  const before = await alice.read("user:carol", { limit: 3, before: last.before as string });
  t.same(texts(before.items), ["page 1", "page 2", "page 3"]);
  const after = await alice.read("user:carol", { limit: 2, after: posts[4]!.cursor });
  t.same(texts(after.items), ["page 5", "page 6"]);
});

await tap.test("a device that was away gets what it did not acknowledge, in order, once", async (t) => {
  const { meet } = await start(t);
  const bob = await meet({ user: "bob" });
  const first = await meet({ user: "alice", device: "phone" });
  await first.follow("bob");
  const home = first.stream("home");
  await home.opened;
  for (let i = 0; i < 6; i++) await bob.post(`post ${i}`);
  const seen: string[] = [];
  for await (const event of home) {
    if (event.event === "post") seen.push(event.post.text);
    if (seen.length === 4) break; // three are finished; the fourth is not
  }
  await first.close();
  for (let i = 6; i < 9; i++) await bob.post(`post ${i}`);

  const back = await meet({ user: "alice", device: "phone" });
  const again = back.stream("home");
  const got: string[] = [];
  for await (const event of again) {
    if (event.event === "post") got.push(event.post.text);
    if (event.event === "live") break;
  }
  t.same(
    got,
    [3, 4, 5, 6, 7, 8].map((i) => `post ${i}`),
  );
  t.ok((await back.cursor("home")).cursor);
});

await tap.test("thousands of posts in flight are all answered, each once, and read in order", async (t) => {
  const { meet } = await start(t);
  const bob = await meet({ user: "bob" });
  const reader = await meet({ user: "reader" });
  const stream = await live(reader, "user:bob");
  const count = 5_000;
  const posted = await Promise.all(Array.from({ length: count }, (_, i) => bob.post(`${i}`)));
  t.equal(new Set(posted.map(({ id }) => id)).size, count);
  const got: string[] = [];
  while (got.length < count) {
    const event = await nextEvent(stream);
    if (event.event === "post") got.push(event.post.text);
  }
  t.same(
    got,
    Array.from({ length: count }, (_, i) => `${i}`),
  );
});

await tap.test(
  "a broker that restarts under load: no post is lost, none is doubled, no reader skips",
  async (t) => {
    const { meet, restart } = await start(t);
    const bob = await meet({ user: "bob", requestTimeoutMs: 0 });
    const alice = await meet({ user: "alice" });
    await alice.follow("bob");
    const home = await live(alice, "home");
    const lost = new Promise<Disconnect>((resolve) => alice.on("disconnect", resolve));
    const count = 400;
    const posted: Promise<unknown>[] = [];
    const publishing = (async () => {
      for (let i = 0; i < count; i++) {
        const answered = bob.post(`${i}`);
        posted.push(answered);
        // The first half one by one, so that some are answered before the restart; the rest all together.
        if (i < count / 2) await answered;
      }
    })();
    await nextItem(home);
    await restart();
    await lost;
    await publishing;
    await Promise.all(posted);
    const got: string[] = ["0"];
    while (got.length < count) {
      const event = await nextItem(home);
      if (event.event === "post") got.push(event.post.text);
    }
    t.same(
      got.sort((a, b) => Number(a) - Number(b)),
      Array.from({ length: count }, (_, i) => `${i}`),
    );
    await bob.post("end");
    t.match(await nextItem(home), { post: { text: "end" } }, "and nothing was repeated");
  },
);

await tap.test("another history behind the same address is told from the loop, not skipped", async (t) => {
  const { meet, restart } = await start(t);
  const alice = await meet({ user: "alice" });
  const home = await live(alice, "home");
  await alice.post("before");
  await nextItem(home);
  await restart({ forget: true });
  await t.rejects(
    async () => {
      for (;;) await nextEvent(home);
    },
    { name: "WhalesongError", code: "epoch_mismatch" },
  );
  const reopened = await live(alice, "home");
  await alice.post("after");
  t.match(await nextItem(reopened), { post: { text: "after" } });
});

await tap.test(
  "what the broker refuses reaches the caller by name, and costs only that request",
  async (t) => {
    const { meet, url } = await start(t);
    const alice = await meet({ user: "alice" });
    await t.rejects(alice.follow("no spaces"), { code: "bad_request", details: { field: "user" } });
    await t.rejects(alice.get("nothing"), { name: "WhalesongError" });
    await t.rejects(alice.post("x".repeat(20_000)), { code: "too_large" });
    await t.rejects(nextEvent(alice.stream("nonsense")), { code: "bad_request" });
    await t.rejects(nextEvent(alice.stream("home", { from: "other-1" })), { code: "epoch_mismatch" });
    await t.rejects(connect(url, { user: "not a handle" }), { code: "bad_request" });
    t.ok((await alice.ping()).at > 0);
  },
);

const authSecret = "a secret for tests, of 32 bytes and more";

function token(user: string, scope: string, seconds = 3_600): Promise<string> {
  return new SignJWT({ scope })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(user)
    .setExpirationTime(Math.floor(Date.now() / 1_000) + seconds)
    .sign(new TextEncoder().encode(authSecret));
}

await tap.test(
  "with tokens: who has none is refused, scopes hold, and auth changes them in place",
  async (t) => {
    const { meet, url } = await start(t, { authSecret });
    await t.rejects(connect(url, { user: "alice" }), { code: "unauthenticated" });
    await t.rejects(connect(url, { token: "nonsense" }), { code: "unauthenticated" });
    await t.rejects(connect(url, { getToken: () => token("alice", "read", -60) }), {
      code: "unauthenticated",
    });
    const alice = await meet({ getToken: () => token("alice", "read") });
    t.equal(alice.user, "alice");
    await t.rejects(alice.post("may I?"), { code: "forbidden" });
    await t.rejects(nextEvent(alice.stream("firehose", { from: "live" })), { code: "forbidden" });
    const { session } = alice;
    await alice.auth(await token("alice", "read write firehose"));
    const firehose = await live(alice, "firehose");
    await alice.post("I may");
    t.match(await nextItem(firehose), { post: { author: "alice", text: "I may" } });
    t.equal(alice.session, session, "still the same session");

    const backend = await meet({ token: await token("app", "read write backend") });
    await backend.post("in dave's name", { as: "dave" });
    t.match(await nextItem(firehose), { post: { author: "dave" } });
    await backend.follow("dave", { as: "erin" });
    t.same(texts((await backend.read("home", { as: "erin" })).items), ["in dave's name"]);
    await t.rejects(alice.post("forged", { as: "dave" }), { code: "forbidden" });
  },
);

await tap.test(
  "a stream that is left and opened anew again and again is given what is published then",
  async (t) => {
    const { meet } = await start(t);
    const me = await meet({ user: "alice" });
    for (let round = 0; round < 50; round++) {
      const stream = me.stream("user:alice", { from: "live" });
      if (round % 2 === 0) await stream.opened;
      stream.close();
    }
    const last = await live(me, "user:alice");
    const { id } = await me.post("after all");
    t.match(await nextItem(last), { event: "post", post: { id } });
  },
);

interface World {
  readonly url: string;
  meet: (as: ConnectOptions) => Promise<Client>;
  /** Stops the broker and starts it again at the same address, with its data or without. */
  restart: (options?: { forget?: boolean }) => Promise<void>;
}

async function start(t: Test, given: Partial<BrokerOptions> = {}): Promise<World> {
  const options: Partial<BrokerOptions> = { logLevel: "error", drainMs: 20, workers, ...given };
  const data = await mkdtemp(join(tmpdir(), "whalesong-sdk-"));
  let broker = await Broker.start({ port: 0, data, ...options });
  const { url } = broker;
  const port = Number(new URL(url).port);
  const clients: Client[] = [];
  t.teardown(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await broker.stop();
    await rm(data, { recursive: true, force: true });
  });
  return {
    url,
    meet: async (as) => {
      const client = await connect(url, { reconnect: quick, ...as });
      clients.push(client);
      return client;
    },
    restart: async ({ forget = false } = {}) => {
      await broker.stop();
      if (forget) await rm(data, { recursive: true, force: true });
      broker = await Broker.start({ port, data, ...options });
    },
  };
}

async function live(client: Client, name: string): Promise<Stream> {
  const stream = client.stream(name, { from: "live" });
  await stream.opened;
  return stream;
}

/** The next event that is not `live` or `cursor`. */
async function nextItem(stream: Stream) {
  for (;;) {
    const event = await nextEvent(stream);
    if (event.event !== "live" && event.event !== "cursor") return event;
  }
}

function texts(items: readonly { event: string; post?: { text: string } }[]): (string | undefined)[] {
  return items.map((item) => item.post?.text);
}
