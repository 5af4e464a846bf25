/* Durable cursors: the greatest acknowledged, until it is sought elsewhere. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap from "tap";

import { limits } from "../../protocol/index.ts";
import { brokerFor, startBroker } from "../workers/broker-under-test.ts";
import { type SessionClient, offsetOf } from "./session-client.ts";

await tap.test("the greatest acknowledged cursor is kept, for each device, over a restart", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
  let broker = await startBroker(folder);
  t.teardown(async () => {
    await broker.stop();
    await rm(folder, { recursive: true });
  });
  const phone = await broker.connect("ann", { device: "phone" });
  const cursors = await publish(phone, 3);
  const { sub } = await phone.subscribe("home", { from: "earliest" });
  await phone.request("ack", { sub, cursor: cursors[1] });
  await phone.request("ack", { sub, cursor: cursors[0] });
  t.match(await phone.request("cursor", { stream: "home" }), { device: "phone", cursor: cursors[1] });
  t.notOk((await phone.request("cursor", { stream: "home", device: "laptop" }))["cursor"]);
  phone.send({ op: "ack", sub, cursor: cursors[2] });
  await phone.request("ping");
  await broker.stop();
  broker = await startBroker(folder);
  const again = await broker.connect("ann", { device: "phone" });
  t.equal((await again.subscribe("home")).start, cursors[2], "also one acknowledged without an id");
});

await tap.test(
  "a device's first resume is fixed there and then: what comes while it is away is not missed",
  async (t) => {
    const broker = await brokerFor(t);
    const phone = await broker.connect("ann", { device: "phone" });
    const first = await phone.subscribe("home");
    await phone.close();
    const other = await broker.connect("ann", { device: "other" });
    const cursors = await publish(other, 2);
    const again = await broker.connect("ann", { device: "phone" });
    const inbox = await again.subscribeLive("home");
    t.equal(inbox.start, first.start);
    t.same(inbox.events.map(({ cursor }) => cursor).slice(0, 2), cursors);
  },
);

await tap.test(
  "a conversation has one cursor, by whichever of its posts it is asked for, also once its first post is gone",
  async (t) => {
    const broker = await brokerFor(t);
    const phone = await broker.connect("ann", { device: "phone" });
    const { id: first } = (await phone.request("post", { text: "first" })) as { id: string };
    const { id: reply } = (await phone.request("post", { text: "reply", replyTo: first })) as { id: string };
    const { id: last } = (await phone.request("post", { text: "last", replyTo: reply })) as { id: string };
    const { sub } = await phone.subscribe(`thread:${first}`, { from: "earliest" });
    await phone.request("ack", { sub, cursor: reply });
    await broker.trim(offsetOf(first));
    for (const post of [reply, last]) {
      const { stream, cursor } = await phone.request("cursor", { stream: `thread:${post}` });
      t.same({ stream, cursor }, { stream: `thread:${first}`, cursor: reply });
      const again = await broker.connect("ann", { device: "phone" });
      t.equal((await again.subscribe(`thread:${post}`)).start, reply);
    }
  },
);

await tap.test(
  "a late acknowledgement of a subscription from before a seek does not undo it; one from after it counts",
  async (t) => {
    const broker = await brokerFor(t);
    const phone = await broker.connect("ann", { device: "phone" });
    const cursors = await publish(phone, 4);
    const before = await phone.subscribe("home", { from: "earliest" });
    await phone.request("ack", { sub: before.sub, cursor: cursors[2] });
    await phone.request("cursor", { stream: "home", set: cursors[0] });
    await phone.request("ack", { sub: before.sub, cursor: cursors[3] });
    t.match(await phone.request("cursor", { stream: "home" }), { cursor: cursors[0] });
    const again = await broker.connect("ann", { device: "phone" });
    const after = await again.subscribe("home");
    t.equal(after.start, cursors[0]);
    await again.request("ack", { sub: after.sub, cursor: cursors[1] });
    t.match(await phone.request("cursor", { stream: "home" }), { cursor: cursors[1] });
  },
);

await tap.test("a cursor below the floor is refused with the floor, from which it goes on", async (t) => {
  const broker = await brokerFor(t);
  const phone = await broker.connect("ann", { device: "phone" });
  const cursors = await publish(phone, 4);
  await phone.request("cursor", { stream: "home", set: cursors[0] });
  await broker.trim(offsetOf(cursors[1]));
  const floor = cursors[1];
  for (const from of ["resume", cursors[0]]) {
    await t.rejects(phone.subscribe("home", { from }), { code: "cursor_too_old", details: { floor } });
  }
  const inbox = await phone.subscribeLive("home", { from: floor });
  t.same(inbox.events.map(({ cursor }) => cursor).slice(0, 2), cursors.slice(2));
});

await tap.test(
  "past as many cursors as a user may have, the one furthest behind is forgotten: its device is as new",
  async (t) => {
    const broker = await brokerFor(t);
    const phone = await broker.connect("ann", { device: "phone" });
    const set = (device: string, to: string): Promise<unknown> =>
      phone.request("cursor", { stream: "home", device, set: to });
    await set("ancient", "live"); // the first of a user takes an offset
    const cursors = await publish(phone, 3);
    const ask = async (device: string): Promise<unknown> =>
      (await phone.request("cursor", { stream: "home", device }))["cursor"];
    await set("ancient", cursors[0]!);
    const devices = Array.from({ length: limits.cursors - 1 }, (_, i) => `d${i}`);
    await Promise.all(devices.map((device) => set(device, cursors[1]!)));
    t.equal(await ask("ancient"), cursors[0], "so many there may be");

    await set("new", "earliest");
    t.equal(await ask("ancient"), undefined);
    t.equal(offsetOf(await ask("new")), 0, "a new one stays, however far behind");
    t.same(new Set(await Promise.all(devices.map((device) => ask(device)))), new Set([cursors[1]]));
    const again = await broker.connect("ann", { device: "ancient" });
    t.equal((await again.subscribe("home")).start, cursors[2], "a first resume, at the head");
    t.equal(await ask("new"), undefined, "which took another's place");
  },
);

await tap.test(
  "devices that come at once, when a user has as many cursors as may be, are all let in at the head",
  async (t) => {
    const broker = await brokerFor(t);
    const phone = await broker.connect("ann", { device: "phone" });
    await phone.request("cursor", { stream: "home", device: "known0", set: "live" }); // the first of a user takes an offset
    const [head] = await publish(phone, 1);
    const known = Array.from({ length: limits.cursors }, (_, i) => `known${i}`);
    await Promise.all(
      known.map((device) => phone.request("cursor", { stream: "home", device, set: "live" })),
    );
    // Before those that are known, by name: of several that are written together one may take another's place.
    const devices = Array.from({ length: 20 }, (_, i) => `a${i}`);
    const clients = await Promise.all(devices.map((device) => broker.connect("ann", { device })));
    const inboxes = await Promise.all(clients.map((client) => client.subscribe("home")));
    t.same(new Set(inboxes.map(({ start }) => start)), new Set([head]));
    t.same(broker.faults, []);
  },
);

async function publish(author: SessionClient, count: number): Promise<string[]> {
  const cursors: string[] = [];
  for (let i = 0; i < count; i++)
    cursors.push((await author.request("post", { text: `${i}` }))["cursor"] as string);
  return cursors;
}
