/* Copies of a store: whole, of one moment, taken while it is written. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import tap from "tap";

import { type Command, State, cursorKey, inspectStore } from "../../broker/state/index.ts";
import { Random } from "../model/random.ts";
import { faultsOf } from "./consistency.ts";
import { openStore, post } from "./store.ts";

const users = Array.from({ length: 20 }, (_, i) => `user${i}`);

function anyCommand(random: Random): Command {
  const user = random.pick(users);
  const target = random.pick(users.filter((one) => one !== user));
  const choice = random.below(10);
  if (choice < 2) return { op: random.chance(0.7) ? "follow" : "unfollow", user, target };
  if (choice === 2) return { op: "trim", floor: random.below(500), most: 20 };
  return post(user, { text: "x".repeat(random.below(2_000)), mentions: [target], tags: ["tag"] });
}

await tap.test("a copy taken under writes opens, is of one moment, and fits together", async (t) => {
  const random = Random.seeded();
  t.comment(`WHALESONG_SEED=${random.seed}`);
  const store = await openStore(t);
  const done = new AbortController();
  t.teardown(() => done.abort());
  const writing = (async () => {
    for (let seq = 1; !done.signal.aborted; seq++) {
      const commands = Array.from({ length: 1 + random.below(50) }, () => ({
        ...anyCommand(random),
        at: seq,
      }));
      await store.state.commit(commands, {
        created: "then",
        seq,
        time: store.state.applied() + commands.length,
        writers: {},
      }).outcomes;
    }
  })();
  const heads: number[] = [];
  for (let copy = 1; copy <= 5; copy++) {
    const folder = join(store.folder, `copy.${copy}`);
    const before = store.state.applied();
    while (store.state.applied() < before + 300) await new Promise((resolve) => setTimeout(resolve, 1));
    await store.state.copyTo(folder);
    const found = await inspectStore(folder);
    t.ok(found!.head >= before && found!.head <= store.state.applied(), "of a moment since it was asked for");
    t.equal(found!.cluster!.time, found!.head, "the place in the log is that of the tables");
    const state = await State.open(folder);
    t.same(faultsOf(state), []);
    t.equal(state.applied(), found!.head);
    t.equal(state.meta.lastAt, found!.cluster!.seq, "the last command is the last batch's");
    await state.close();
    heads.push(found!.head);
  }
  done.abort();
  await writing;
  t.ok(heads.at(-1)! > heads[0]!, `heads ${heads.join(", ")}`);
});

await tap.test("a copy holds what is not commands, too, and no free pages", async (t) => {
  const store = await openStore(t);
  const { state, folder } = store;
  for (let i = 0; i < 20; i++)
    await store.apply(Array.from({ length: 100 }, () => post("alice", { text: "x".repeat(3_000) })));
  await store.apply([{ op: "trim", floor: 1_900, most: 2_000 }]);
  const key = cursorKey(1, "phone", "home");
  await state.writeCursors([[key, { offset: 7, generation: 1 }]]);
  const copy = join(folder, "copy");
  await state.copyTo(copy);
  const opened = await State.open(copy);
  t.same(opened.cursors.get(key), { offset: 7, generation: 1 });
  const [before, after] = [state.size().fileBytes, opened.size().fileBytes];
  t.ok(after < before / 5, `${before} bytes, the copy ${after}`);
  await opened.close();
});

await tap.test("a store that is closed while it is copied is copied first", async (t) => {
  const store = await openStore(t);
  await store.apply(Array.from({ length: 500 }, () => post("alice", { text: "x".repeat(3_000) })));
  const copy = join(store.folder, "copy");
  const copying = store.state.copyTo(copy);
  await store.reopen();
  await copying;
  const opened = await State.open(copy);
  t.equal(opened.applied(), 500);
  await opened.close();
});

await tap.test("a copy does not overwrite one that is there", async (t) => {
  const store = await openStore(t);
  const { state, folder } = store;
  await store.one(post("alice"));
  const copy = join(folder, "copy");
  await mkdir(copy);
  await state.copyTo(copy);
  await t.rejects(state.copyTo(copy));
  t.equal((await inspectStore(copy))!.head, 1);
});
