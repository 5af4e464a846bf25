/* Levels: what a store makes of commands follows from its level, which rises at one offset; and from nothing that differs between processes. */

import { pack, unpack } from "msgpackr";
import tap from "tap";

import {
  type Command,
  cursorKey,
  isMigrationDue,
  keptStream,
  migrate,
  nameOf,
  otherKey,
  publishKeyLifeMs,
  unpackContent,
} from "../../broker/state/index.ts";
import { CursorKeeper } from "../../broker/sessions/index.ts";
import { faultsOf } from "./consistency.ts";
import { changeRows, makeLevelOne } from "./level-one.ts";
import { type Store, openStore, post } from "./store.ts";

/** Names that fold to more than their A to Z in small letters. */
const street = "Straße";
const island = "ÎLE";

const raise: Command = { op: "level", to: 2 };

async function openLevelOne(t: Parameters<typeof openStore>[0]): Promise<Store> {
  const store = await openStore(t);
  await store.reopen(makeLevelOne);
  return store;
}

/** Commands as those that know level 1 write them. */
function ofLevelOne(...commands: Command[]): Command[] {
  return commands.map((command) => Object.assign(command, { level: 1 as const }));
}

async function setUp(t: Parameters<typeof openStore>[0]): Promise<Store> {
  const store = await openLevelOne(t);
  await store.apply(
    ofLevelOne(
      post(street, { mentions: [island, "bob"], tags: ["Ärger", "b"] }),
      post("bob", { tags: ["Grüße", "GRÜSSE", "x"] }),
    ),
  );
  return store;
}

await tap.test(
  "a store is raised at one offset, once, and is refused by who does not know the level",
  async (t) => {
    const store = await openLevelOne(t);
    t.match(store.state.meta, { format: 2, level: undefined });
    t.equal(store.state.level, 1);
    await store.one(raise);
    t.match(store.state.meta, { format: 3, level: 2 }, "0.1.0 reads layout 2 and no other");
    await store.one(raise);
    t.equal(store.state.level, 2, "late or doubled it changes nothing");
    t.equal(store.state.applied(), 2);
  },
);

await tap.test("entries and users say what names fold to from level 2 on, and not before", async (t) => {
  const store = await setUp(t);
  const before = store.state.entry(1);
  t.ok(before?.kind === "post" && !before.isFolded);
  await store.one(raise);
  await store.one(post(["Maße", "masse"], { tags: [["Füße", "füsse"], "plain"] }));
  const after = store.state.entry(4);
  if (after?.kind !== "post") throw new Error("not a post");
  t.ok(after.isFolded);
  t.same(unpackContent(after).tags, [["Füße", "füsse"], "plain"]);
  t.equal(store.state.users.handle(after.author), "Maße");
  t.equal(store.state.users.foldedHandle(after.author), "masse");
  t.equal(store.state.users.find("MASSE"), after.author);
  t.same(faultsOf(store.state), []);
});

await tap.test("what a name folds to is what the command says, whatever this process thinks", async (t) => {
  const store = await openStore(t);
  const odd = ["Ünlü", "another"] as const;
  await store.one(post(odd, { tags: [odd], mentions: [["Ünal", "third"]] }));
  await store.one({ op: "follow", user: ["Other spelling", "another"], target: "bob", most: 10 });
  const entry = store.state.entry(1);
  t.equal(entry?.author, store.state.entry(2)?.author, "one user");
  t.equal(store.state.users.find("another"), entry?.author);
  await store.one({ op: "delete", user: "another", post: store.state.positions.id(1) });
  await store.one({ op: "trim", floor: 100, most: 100, keyLifeMs: publishKeyLifeMs });
  await store.one({ op: "trim", floor: 100, most: 100, keyLifeMs: publishKeyLifeMs });
  t.equal(store.state.users.find("third"), undefined, "dropped from the tables under its own name");
  t.same(faultsOf(store.state), []);
});

await tap.test(
  "what was written at level 1 under other tables of Unicode is found where it is filed",
  async (t) => {
    const store = await openStore(t);
    // As a process with other tables would have written it: filed otherwise than this one folds, and nothing says so.
    await store.apply([
      post(["Åsa", "odd-åsa"], {
        tags: [["Öl", "odd-öl"], ["Ål", "öl"], "x"],
        mentions: [["Éva", "odd-éva"]],
      }),
      post("ben", { tags: [["Öl", "odd-öl"]] }),
    ]);
    await store.reopen(async (folder) => {
      await changeRows(folder, "users", (row) =>
        row.subarray(0, row.includes(0) ? row.indexOf(0) : row.length),
      );
      await changeRows(folder, "log", (row) => {
        const content = unpack(row.subarray(12)) as [string, number[], (string | [string, string])[]];
        const tags = content[2].map((tag) => (typeof tag === "string" ? tag : tag[0]));
        const head = Buffer.from(row.subarray(0, 12));
        head[1]! &= ~8;
        return Buffer.concat([head, pack([content[0], content[1], tags])]);
      });
    });
    const before = store.state.topics.tagsWith(1).map(String).sort();
    t.same(before, ["\u0003odd-öl\u0000", "\u0003x\u0000", "\u0003öl\u0000"]);
    await store.one({ op: "delete", user: ["Åsa", "odd-åsa"], post: store.state.positions.id(1) });
    t.same(store.state.topics.tagsWith(1), [], "the post is in none of its topics any more");
    t.same(store.state.topics.tagsWith(3).map(String).sort(), before, "its delete is in all of them");
    for (let i = 0; i < 3; i++) await store.one({ op: "trim", floor: 3, most: 100, keyLifeMs: 0 }, 1_000 + i);
    t.same([...store.state.topics.postings()], []);
    for (const handle of ["odd-åsa", "odd-éva", "ben"])
      t.equal(store.state.users.find(handle), undefined, `${handle} is dropped`);
    t.same(faultsOf(store.state), []);
  },
);

await tap.test("a command of level 1 that comes after the level was raised", async (t) => {
  const store = await setUp(t);
  await store.one(raise);
  const head = store.state.applied();
  const [plain, odd] = await store.apply(
    ofLevelOne(post("ann", { tags: ["t"] }), post("ann", { tags: ["Tür"] })),
  );
  t.equal(plain?.error, undefined, "is applied where no two processes could think differently of its names");
  t.match(odd?.error, { code: "not_yet" }, "and is to be sent again where they could");
  t.equal(store.state.entry(head + 2), undefined, "nothing was changed");
  const entry = store.state.entry(head + 1);
  t.ok(entry?.kind === "post" && entry.isFolded);
  t.same(faultsOf(store.state), []);
});

await tap.test("limits of level 1 are those of its version", async (t) => {
  const store = await openLevelOne(t);
  const many = Array.from({ length: 60 }, (_, i) => `u${i}`);
  const [outcome] = await store.apply(
    ofLevelOne(post("u3", { mentions: [...many, "U1"], tags: [...many, "U1"] })),
  );
  if (outcome?.entry?.kind !== "post") throw new Error("not a post");
  const { mentions, tags } = unpackContent(outcome.entry);
  t.equal(mentions.length, 50, "users mentioned, without the author");
  t.equal(tags.length, 50);
  t.equal(store.state.users.find("u50"), 51, "so many became users");
  t.equal(store.state.users.find("u51"), undefined);
});

await tap.test("durable cursors go by number from level 2 on, and none is lost on the way", async (t) => {
  const store = await openLevelOne(t);
  await store.apply(ofLevelOne({ op: "user", user: "reader" }, { op: "user", user: street }, post("guest")));
  const { state } = store;
  const reader = state.users.find("reader")!;
  const author = state.users.find(street)!;
  const devices = Array.from({ length: 500 }, (_, i) => `phone${i}`);
  const names = (stream: string): string[] => devices.map((device) => cursorKey(reader, device, stream));
  const byName = names("user:strasse");
  t.equal(keptStream(state, "user:strasse"), "user:strasse");
  await state.writeCursors(byName.map((key, i) => [key, { offset: i, generation: i % 3 }]));
  await state.writeCursors([[cursorKey(author, "pc", "user:guest"), { offset: 7, generation: 0 }]]);
  await state.writeCursors([[cursorKey(author, "pc", "home"), { offset: 8, generation: 0 }]]);
  await store.one(raise);
  t.equal(keptStream(state, "user:strasse"), `user#${author}`);
  t.equal(
    keptStream(state, "user:guest"),
    "user:guest",
    "who may be dropped, and come again with another number",
  );
  t.equal(keptStream(state, "user:nobody"), "user:nobody");

  const keeper = new CursorKeeper(state, { onFailure: (error) => t.fail(String(error)) });
  t.same(keeper.get(names(`user#${author}`)[5]!), { offset: 5, generation: 2 }, "found before it is renamed");
  t.ok(isMigrationDue(state));
  await store.reopen();
  t.ok(isMigrationDue(store.state), "what is not done is told");
  await migrate(store.state);
  t.notOk(isMigrationDue(store.state));
  for (const [i, key] of names(`user#${author}`).entries())
    t.same(store.state.cursors.get(key), { offset: i, generation: i % 3 });
  for (const key of byName) t.equal(store.state.cursors.get(key), undefined);
  t.same(store.state.cursors.get(cursorKey(author, "pc", "user:guest")), { offset: 7, generation: 0 });
  t.same(store.state.cursors.get(cursorKey(author, "pc", "home")), { offset: 8, generation: 0 });
  t.equal(otherKey(store.state, byName[0]!), names(`user#${author}`)[0]);
});

await tap.test(
  "a migration that is interrupted goes on where it was, and the later of two names stays",
  async (t) => {
    const store = await openLevelOne(t);
    await store.apply(ofLevelOne({ op: "user", user: "ann" }, { op: "user", user: "ben" }));
    for (let user = 10; user < 30; user++) {
      const rows = Array.from(
        { length: 300 },
        (_, i) => [cursorKey(user, `d${i}`, "user:ann"), { offset: 3, generation: 1 }] as const,
      );
      await store.state.writeCursors(rows.map(([key, cursor]) => [key, cursor]));
    }
    await store.one(raise);
    const [older, later] = ["d1", "d2"].map((device) => cursorKey(29, device, "user#1"));
    await store.state.writeCursors([
      [older!, { offset: 9, generation: 0 }],
      [later!, { offset: 2, generation: 2 }],
    ]);
    const ending = new AbortController();
    const stopped = migrate(store.state, { signal: ending.signal });
    ending.abort();
    t.equal(await stopped, 2_000, "after the step under way");
    t.ok(isMigrationDue(store.state));
    t.equal(await migrate(store.state), 20 * 300 + 2 - 2_000);
    t.same(store.state.cursors.get(older!), { offset: 3, generation: 1 });
    t.same(store.state.cursors.get(later!), { offset: 2, generation: 2 });
    const left = [...store.state.cursors.after(undefined)].filter(([key]) => key.includes("user:"));
    t.same(left, []);
  },
);

await tap.test("a cursor by name is in force for who comes again under another number", async (t) => {
  const store = await openStore(t);
  await store.one({ op: "user", user: "reader" });
  await store.one(post("guest"));
  const { state } = store;
  const reader = state.users.find("reader")!;
  const keyNow = (): string => cursorKey(reader, "phone", keptStream(state, "user:guest"));
  const keeper = new CursorKeeper(state, { onFailure: (error) => t.fail(String(error)) });
  keeper.begin(keyNow(), 2);
  await keeper.flush();
  const first = state.users.find("guest");
  await store.one({ op: "trim", floor: 2, most: 10, keyLifeMs: 0 }, 1_000);
  t.equal(state.users.find("guest"), undefined, "dropped");
  await store.one(post("guest"), 1_001);
  t.not(state.users.find("guest"), first);
  t.same(keeper.get(keyNow()), { offset: 2, generation: 0 }, "not begun at the head");
  await store.one({ op: "user", user: "guest" });
  t.equal(keptStream(state, "user:guest"), `user#${state.users.find("guest")}`);
  const other = new CursorKeeper(state, { onFailure: (error) => t.fail(String(error)) });
  t.same(other.get(keyNow()), { offset: 2, generation: 0 }, "nor once they are there to stay");
  other.seek(keyNow(), 1);
  other.acknowledge(cursorKey(reader, "phone", "user:guest"), 4, 0);
  t.match(other.get(keyNow()), { offset: 1, generation: 1 }, "of both names the later cursor is in force");
  await other.close();
});

await tap.test("names fold to one form in a command, whatever they are", (t) => {
  t.equal(nameOf("Alice"), "Alice");
  t.equal(nameOf("ålice"), "ålice");
  t.same(nameOf("Ålice"), ["Ålice", "ålice"]);
  t.same(nameOf(street), [street, "strasse"]);
  t.end();
});
