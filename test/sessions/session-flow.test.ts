/* A client that asks for more than it takes: held back, not buffered, and nothing is lost. */

import tap from "tap";

import { limits } from "../../protocol/index.ts";
import { SessionBroker } from "./session-broker.ts";

await tap.test(
  "a client that reads none of its answers has few of its requests begun, and all in the end",
  async (t) => {
    const broker = await SessionBroker.for(t);
    const alice = await broker.connect("alice");
    const large = "x".repeat(16_000);
    await Promise.all(Array.from({ length: 100 }, () => alice.request("post", { text: large })));
    const slow = await broker.connect("slow");
    let begun = 0;
    const read = broker.streams.read.bind(broker.streams);
    broker.streams.read = (request) => {
      begun++;
      return read(request);
    };
    slow.socket.pause();
    // About 1 MiB each: what the kernel takes, the session's own bound and the pages in flight are far less than 200 MiB.
    const pages = Array.from({ length: 200 }, () =>
      slow.request("read", { stream: "user:alice", limit: 100 }),
    );
    const posted = slow.request("post", { text: "behind the pages" });
    // The slow one's frames have been read, as far as they are: another's request goes all the way round many times.
    for (let i = 0; i < 200; i++) await alice.request("ping");
    const before = await alice.request("read", { stream: "user:slow" }).catch((error: unknown) => error);
    t.match(
      before,
      { code: "not_found" },
      "the post behind the pages was not begun: its author is not known yet",
    );
    t.ok(begun > 1 && begun < 20, `${begun - 1} of the pages were begun`);
    slow.socket.resume();
    const answers = await Promise.all(pages);
    t.ok(answers.every(({ items }) => Array.isArray(items) && items.length > 50));
    await posted;
    const after = await alice.request("read", { stream: "user:slow" });
    t.match(after["items"], [{ post: { text: "behind the pages" } }]);
  },
);

await tap.test("a page ends at its limit of bytes, and the next goes on", async (t) => {
  const broker = await SessionBroker.for(t);
  const alice = await broker.connect("alice");
  const large = "x".repeat(16_000);
  const posts = await Promise.all(Array.from({ length: 150 }, () => alice.request("post", { text: large })));
  for (const [direction, from] of [
    ["after", { after: (posts[0]!["cursor"] as string).replace(/\d+$/, "0") }],
    ["before", {}],
  ] as const) {
    let seen = 0;
    let pages = 0;
    let next: Record<string, unknown> = from;
    for (;;) {
      const page = await alice.request("read", { stream: "user:alice", limit: limits.pageItems, ...next });
      const items = page["items"] as object[];
      t.ok(JSON.stringify(items).length < limits.pageBytes + 20_000, `${direction}: ${items.length} items`);
      seen += items.length;
      pages++;
      if (items.length === 0 || page[direction] === undefined) break;
      next = { [direction]: page[direction] };
    }
    t.equal(seen, posts.length, `${direction}: none missing, none twice`);
    t.ok(pages > 2, `${direction}: ${pages} pages`);
  }
});

await tap.test(
  "more requests than may be in flight at once are all answered, in the order sent",
  async (t) => {
    const broker = await SessionBroker.for(t);
    const alice = await broker.connect("alice", { codec: "msgpack" });
    const count = limits.inFlight * 3;
    const posts = await Promise.all(
      Array.from({ length: count }, (_, i) => alice.request("post", { text: `${i}` })),
    );
    const offsets = posts.map(({ id }) => Number((id as string).split("-")[1]));
    t.same(
      offsets,
      offsets.toSorted((a, b) => a - b),
    );
    t.equal(new Set(offsets).size, count);
  },
);

await tap.test("a drain tells each client another time to come back, after it is over", async (t) => {
  const broker = await SessionBroker.for(t);
  const clients = await Promise.all(Array.from({ length: 12 }, (_, i) => broker.connect(`user${i}`)));
  await broker.sessions.drain(0);
  const goodbyes = await Promise.all(
    clients.map(async (client) => {
      t.match(await client.closed, { code: 4000 });
      return client.others.find(({ event }) => event === "goodbye")?.["reconnectMs"] as number;
    }),
  );
  t.equal(new Set(goodbyes).size, clients.length);
  t.ok(Math.min(...goodbyes) >= 500 && Math.max(...goodbyes) - Math.min(...goodbyes) > 500, goodbyes.join());
});
