/* Users whom nothing refers to: dropped by the very trim that takes the last reference, and not before. */

import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap, { type Test } from "tap";

import { digestStore } from "../../broker/state/digest.ts";
import { Environment } from "../../broker/state/environment.ts";
import {
  type Command,
  type Stamped,
  State,
  copyStore,
  publishKeyLifeMs,
  walkStore,
} from "../../broker/state/index.ts";
import { Random } from "../model/random.ts";
import { faultsOf } from "./consistency.ts";
import { type Store, openStore, post } from "./store.ts";

/** Removes all entries up to `floor`. */
function trim(floor: number, most = 1_000): Command {
  return { op: "trim", floor, most };
}

/** Trims entry by entry: `handle` is there until the one at `last` goes, and a trim of it says so. */
async function checkLast(t: Test, store: Store, handle: string, last: number): Promise<void> {
  const user = store.state.users.find(handle);
  for (let floor = store.state.meta.floor + 1; floor < last; floor++) {
    const { entry } = await store.one(trim(floor));
    const dropped = entry?.kind === "forgotten" ? entry.handles : [];
    t.notOk(dropped.includes(handle), `not with ${floor}`);
    t.equal(store.state.users.find(handle), user, `there without ${floor}`);
  }
  const { entry, offset } = await store.one(trim(last));
  t.equal(entry?.kind, "forgotten");
  t.match(entry, { offset, author: 0 });
  if (entry?.kind === "forgotten") t.equal(entry.handles[entry.users.indexOf(user!)], handle);
  checkGone(t, store, handle, user!);
  await store.reopen();
  checkGone(t, store, handle, user!);
}

function checkGone(t: Test, { state }: Store, handle: string, user: number): void {
  state.refresh();
  t.equal(state.users.find(handle), undefined);
  t.equal(state.users.find(handle.toUpperCase()), undefined);
  t.equal(state.users.findHandle(user), undefined);
  t.same(faultsOf(state), []);
}

/** The id of the post at `offset`. */
function id({ state }: Store, offset: number): string {
  return state.positions.id(offset);
}

await tap.test("an author stays while a post of theirs is there", async (t) => {
  const store = await openStore(t);
  await store.apply([post("ann"), post("ben"), post("ann"), post("ben")]);
  await checkLast(t, store, "ann", 3);
});

await tap.test("who is mentioned stays while the post is there", async (t) => {
  const store = await openStore(t);
  await store.apply([
    post("ann", { mentions: ["ben", "cleo"] }),
    post("ann", { mentions: ["cleo"] }),
    post("ann"),
  ]);
  await checkLast(t, store, "ben", 1);
  await checkLast(t, store, "cleo", 2);
});

await tap.test("who was mentioned in a deleted post stays while its delete is there", async (t) => {
  const store = await openStore(t);
  await store.apply([post("ann", { mentions: ["ben"] }), post("dan")]);
  await store.one({ op: "delete", user: "ann", post: id(store, 1) });
  await store.one(post("dan"));
  await checkLast(t, store, "ben", 3);
});

await tap.test("the author of a parent, and of a root, stays while the reply is there", async (t) => {
  const store = await openStore(t);
  await store.one(post("root"));
  await store.one(post("parent", { replyTo: id(store, 1) }));
  await store.one(post("ann", { replyTo: id(store, 2) }));
  await store.one(post("ann"));
  await checkLast(t, store, "root", 3);
  t.equal(store.state.users.find("parent"), undefined, "both at once");
});

await tap.test("the author of an original stays while a repost is there", async (t) => {
  const store = await openStore(t);
  await store.one(post("ann"));
  await store.one({ op: "repost", user: "ben", post: id(store, 1) });
  await store.one({ op: "delete", user: "ben", post: id(store, 2) });
  await store.one(post("ben"));
  await checkLast(t, store, "ann", 2);
});

await tap.test("who follows, and who is followed, stays until the unfollow is gone", async (t) => {
  for (const way of ["ben", "ann"]) {
    const store = await openStore(t);
    const other = way === "ann" ? "ben" : "ann";
    await store.one({ op: "user", user: other });
    await store.one({ op: "follow", user: "ann", target: "ben" });
    for (let floor = 1; floor <= 5; floor++) await store.one(trim(floor));
    t.ok(store.state.users.find(way) !== undefined, "the follow is no history");
    const { offset } = await store.one({ op: "unfollow", user: "ann", target: "ben" });
    await store.one(post(other));
    await checkLast(t, store, way, offset);
    t.ok(store.state.users.find(other) !== undefined, "who is claimed stays");
  }
});

await tap.test("an author stays while one of their publish keys is in force", async (t) => {
  const store = await openStore(t);
  await store.apply([post("ann", { key: "a" }), post("ben", { key: "b" }), post("ann", { key: "c" })], 1_000);
  await store.apply(
    Array.from({ length: 300 }, () => post("dan", { mentions: ["eve"] })),
    2_000,
  );
  await store.one(post("ann", { key: "d" }), 3_000);
  await store.one(trim(310), 4_000);
  const before = store.state.users.find("ann");
  t.match(await store.one(post("ann", { key: "c" })), { answer: 3, entry: undefined }, "answered as before");
  t.match(await store.one(post("ann", { key: "d" })), { answer: 304, entry: undefined });
  t.equal(store.state.users.find("eve"), undefined, "who published nothing is gone");

  await store.one(trim(310), 1_000 + publishKeyLifeMs);
  t.ok(store.state.users.find("ben") !== undefined, "to the end of its life");
  t.match(await store.one(trim(310), 1_001 + publishKeyLifeMs), { entry: { handles: ["ben"] } }, "the last");
  t.equal(store.state.users.find("ann"), before, "there is another of ann's");
  t.match(await store.one(post("ann", { key: "d" })), { answer: 304, entry: undefined });
  const last = await store.one(trim(310), 3_001 + publishKeyLifeMs);
  t.match(
    last,
    { entry: { handles: ["dan", "ann"] } },
    "and who published at the time: that may have been with a key",
  );
  t.equal(store.state.size().tables["keyHolders"]!.entries, 0);
  t.same(faultsOf(store.state), []);
  const { entry } = await store.one(post("ann", { key: "d" }));
  t.match(entry, { kind: "post" }, "published anew, by another of the name");
});

await tap.test("a key of the very batch in which its post is trimmed keeps its author", async (t) => {
  const store = await openStore(t);
  await store.apply([post("ann", { key: "a" }), post("ann", { mentions: ["ben"] }), trim(2)]);
  t.ok(store.state.users.find("ann") !== undefined);
  t.equal(store.state.users.find("ben"), undefined);
  t.same(faultsOf(store.state), []);
});

await tap.test("who waits for keys is one of many, and comes and goes meanwhile", async (t) => {
  const store = await openStore(t);
  const many = Array.from({ length: 40 }, (_, i) => `u${i}`);
  await store.apply([...many.map((user) => post(user)), post("ann", { key: "a" })], 1_000);
  await store.one(trim(41), 1_000);
  t.equal(store.state.size().tables["keyHolders"]!.entries, 41, "each wrote while a key is in force");
  await store.apply([post("u0"), { op: "user", user: "u1" }], 1_000);
  await store.one(trim(44), 1_000);
  await store.one(trim(0, 1_000), 1_001 + publishKeyLifeMs);
  const there = [...many, "ann"].filter((user) => store.state.users.find(user) !== undefined);
  t.same(there, ["u1"], "who keeps something stays");
  t.equal(store.state.size().tables["keyHolders"]!.entries, 0);

  await store.apply([...many.map((user) => post(user)), post("ann", { key: "a" })]);
  const head = store.state.applied();
  await store.one(trim(head));
  const later = store.state.meta.lastAt + publishKeyLifeMs + 1;
  let steps = 0;
  const { unclaimed, publishKeys } = store.state;
  do {
    await store.one(trim(head, 10), later);
    store.state.refresh();
    steps++;
  } while (unclaimed.anyHolder(publishKeys.firstInForce()));
  t.equal(steps, 4, "ten at a time");
  t.equal(store.state.size().tables["users"]!.entries, 1);
  t.same(faultsOf(store.state), []);
});

await tap.test("whom a user command names stays, be it the first that is heard of them or not", async (t) => {
  const store = await openStore(t);
  await store.apply([post("dan", { mentions: ["ann"] })]);
  const ann = store.state.users.find("ann");
  t.match(await store.one({ op: "user", user: "ANN" }), { offset: 2, answer: 2, entry: undefined });
  t.match(await store.one({ op: "user", user: "ben" }), { entry: { kind: "user" } });
  await store.one({ op: "user", user: "ben" });
  await store.apply([post("ann"), post("ben", { mentions: ["ann"] })]);
  for (let i = 0; i < 4; i++) await store.one(trim(100));
  t.equal(store.state.users.find("ann"), ann);
  t.equal(store.state.users.handle(ann!), "ann");
  t.ok(store.state.users.find("ben") !== undefined);
  t.equal(store.state.users.find("dan"), undefined);
  t.same([...store.state.unclaimed.rows()], []);
  t.same(faultsOf(store.state), []);
});

await tap.test("a number is never given twice, and a handle that comes back has another", async (t) => {
  const store = await openStore(t);
  const [first, , , second] = await store.apply([post("Ann"), trim(1), post("ann"), trim(3)]);
  t.match(first, { entry: { author: 1 } });
  t.match(second, { entry: { users: [2], handles: ["ann"] } }, "in one transaction, spelled as it was given");
  await store.one(post("ben", { mentions: ["ANN"] }));
  t.same([store.state.users.find("ben"), store.state.users.find("ann")], [3, 4]);
  t.equal(store.state.users.handle(4), "ANN");
  t.equal(store.state.users.handle(1), "Ann", "what is still on its way can be described");
  t.same(faultsOf(store.state), []);
});

function strangers(i: number): string[] {
  return Array.from({ length: 50 }, (_, n) => `u${i}x${n}`);
}

await tap.test("a trim drops so many users, or those of one entry more, and the next goes on", async (t) => {
  const store = await openStore(t);
  await store.apply(Array.from({ length: 10 }, (_, i) => post(`a${i}`, { mentions: strangers(i) })));
  const { entry } = await store.one(trim(10, 100));
  t.match(entry, { kind: "forgotten" });
  t.equal(entry?.kind === "forgotten" && entry.users.length, 102);
  t.equal(store.state.meta.floor, 2, "the floor is where it stopped");
  for (let i = 0; i < 4; i++) await store.one(trim(10, 100));
  t.equal(store.state.meta.floor, 10);
  t.equal(store.state.size().tables["users"]!.entries, 0);
  t.match(await store.one(trim(15)), { entry: undefined }, "of what it says itself nothing is said");
  t.same(faultsOf(store.state), []);
});

await tap.test("an undone transaction leaves nothing in memory", async (t) => {
  const store = await openStore(t);
  await store.apply([post("ann", { mentions: ["ben"] })]);
  const ben = store.state.users.find("ben");
  const faulty = { ...post("dan"), mentions: null } as unknown as Command;
  await t.rejects(
    store.apply([{ op: "user", user: "eve" }, { op: "user", user: "ann" }, trim(2), post("ben"), faulty]),
  );
  t.equal(store.state.users.find("ben"), ben);
  t.equal(store.state.users.handle(ben!), "ben");
  t.equal(store.state.users.find("eve"), undefined);
  await store.one(post("fay")); // has the number that eve had
  t.match(await store.one(trim(1)), { entry: { handles: ["ann", "ben"] } });
  t.match(await store.one(trim(2)), { entry: { handles: ["fay"] } });
  t.same(faultsOf(store.state), []);
});

await tap.test("a loop of mentions of random handles is gone once it is trimmed", async (t) => {
  const store = await openStore(t);
  await store.one({ op: "user", user: "ann" });
  const random = Random.seeded();
  t.comment(`WHALESONG_SEED=${random.seed}`);
  const users = (): number => store.state.size().tables["users"]!.entries;
  const named = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const mentions = Array.from({ length: 50 }, () => `x${random.below(1e9)}`);
    for (const handle of mentions) named.add(handle);
    await store.one(post("ann", { mentions }));
  }
  t.equal(users(), 1 + named.size);
  while (store.state.meta.floor < 21) await store.one(trim(21, 500));
  t.equal(users(), 1);
  t.equal(store.state.size().tables["handles"]!.entries, 1);
  t.equal(store.state.size().tables["unclaimed"]!.entries, 0);
  t.same(faultsOf(store.state), []);
});

await tap.test("users of a store from before stay, and it is read without its new table", async (t) => {
  const store = await openStore(t);
  await store.apply([post("ann", { mentions: ["ben"] })]);
  await store.state.close();
  const environment = new Environment(store.folder);
  await environment.tables.unclaimed.drop(); // as it was before
  await environment.close();
  const copy = await mkdtemp(join(tmpdir(), "whalesong-"));
  t.teardown(() => rm(copy, { recursive: true }));
  const digest = await digestStore(store.folder);
  await walkStore(store.folder);
  await copyStore(store.folder, copy);
  store.state = await State.open(store.folder, { isSameEpoch: true });
  t.same(await digestStore(store.folder), digest);
  await store.apply([post("cleo"), trim(2)]);
  t.match(
    [1, 2, 3].map((user) => store.state.users.findHandle(user)),
    ["ann", "ben", undefined],
  );
});

await tap.test("commands of a version that dropped nobody are applied as it applied them", async (t) => {
  const store = await openStore(t);
  const apply = async (...commands: Stamped[]): Promise<void> => {
    await store.state.commit(commands).outcomes;
  };
  const before = { at: 1, keepsUsers: true } as const;
  await apply({ ...post("ann", { mentions: ["ben"] }), ...before }, { ...post("cleo"), at: 1 });
  await apply({ ...trim(2), ...before });
  for (const user of ["ann", "ben", "cleo"]) t.ok(store.state.users.find(user) !== undefined, user);
  await apply({ ...post("ann", { mentions: ["cleo"] }), at: 1 }, { ...trim(4), at: 1 });
  t.same(
    ["ann", "ben", "cleo"].map((user) => store.state.users.find(user)),
    [1, 2, undefined],
  );
});

await tap.test(
  "stores that apply the same commands are equal, however these are batched and whatever fails between",
  async (t) => {
    const random = Random.seeded();
    t.comment(`WHALESONG_SEED=${random.seed}`);
    const root = await mkdtemp(join(tmpdir(), "whalesong-"));
    t.teardown(() => rm(root, { recursive: true }));
    const folders = ["0", "1", "2"].map((name) => join(root, name));
    const first = await State.open(folders[0]!);
    const { epoch } = first.positions;
    await first.close();
    for (const folder of folders.slice(1)) await cp(folders[0]!, folder, { recursive: true });
    const log = Array.from({ length: 2_000 }, (_, i) => ({
      ...someCommand(random, i, epoch),
      at: 1_790_000_000_000 + i * 600_000,
    }));
    let dropped = 0;
    for (const [n, folder] of folders.entries()) {
      const state = await State.open(folder, { isSameEpoch: true });
      for (let at = 0; at < log.length;) {
        const batch = structuredClone(log.slice(at, at + (n === 0 ? 1 : 1 + random.below(60))));
        at += batch.length;
        if (n === 1 && random.chance(0.3)) {
          const ending = { ...post("x"), mentions: null, at: batch.at(-1)!.at };
          const failing = [...structuredClone(batch), ending as unknown as Stamped];
          await t.rejects(state.commit(failing).outcomes);
        }
        for (const { entry } of await state.commit(batch).outcomes)
          if (n === 0 && entry?.kind === "forgotten") dropped += entry.users.length;
      }
      t.same(faultsOf(state), []);
      await state.close();
    }
    t.ok(dropped > 100, `${dropped} were dropped`);
    const digest = await digestStore(folders[0]!);
    t.same(await digestStore(folders[1]!), digest);
    t.same(await digestStore(folders[2]!), digest);
  },
);

/** Of people who come and go; what is trimmed is so close behind that they do. */
function someCommand(random: Random, i: number, epoch: string): Command {
  const someone = (): string => `u${Math.max(0, i - random.below(60)) >> 1}`;
  const user = someone();
  const earlier = `${epoch}-${Math.max(1, i - random.below(20))}`;
  switch (random.below(14)) {
    case 0:
      return { op: "follow", user, target: someone() };
    case 1:
      return { op: "unfollow", user, target: someone() };
    case 2:
      return { op: "repost", user, post: earlier };
    case 3:
      return { op: "delete", user, post: earlier };
    case 4:
    case 5:
      return trim(Math.max(0, i - random.below(40)), 1 + random.below(60));
    case 6:
    case 7:
      return post(user, { replyTo: earlier, mentions: [someone()] });
    case 8:
      return random.chance(0.2) ? { op: "user", user } : { op: "unfollow", user, target: someone() };
    case 9:
      return post(user, { key: `key ${random.below(i + 1)}` });
    default:
      return post(user, { mentions: [someone(), `stranger${i}`] });
  }
}
