/* CursorKeeper: acknowledgements, seeks and what other nodes tell, on their way to disk. */

import tap from "tap";

import { CursorKeeper } from "../../broker/sessions/index.ts";
import { type Cursor, type CursorKey, type State, cursorKey } from "../../broker/state/index.ts";
import { openStore } from "../state/store.ts";

const key = cursorKey(1, "phone", "home");

function onFailure(error: unknown): never {
  throw error;
}

function keeperOf(state: State, onWritten?: (cursors: [CursorKey, Cursor][]) => void): CursorKeeper {
  return new CursorKeeper(state, onWritten === undefined ? { onFailure } : { onFailure, onWritten });
}

function place(cursor: Cursor | undefined): [number, number] | undefined {
  return cursor === undefined ? undefined : [cursor.generation, cursor.offset];
}

await tap.test("acknowledgements go forth within a generation, and a seek begins the next", async (t) => {
  const store = await openStore(t);
  const keeper = keeperOf(store.state);
  keeper.begin(key, 5);
  keeper.begin(key, 9);
  t.same(place(keeper.get(key)), [0, 5], "begun once");
  keeper.acknowledge(key, 7, 0);
  keeper.acknowledge(key, 6, 0);
  t.same(place(keeper.get(key)), [0, 7]);
  keeper.seek(key, 2);
  keeper.acknowledge(key, 8, 0);
  t.same(place(keeper.get(key)), [1, 2], "what was acknowledged before the seek comes too late");
  keeper.acknowledge(key, 3, 1);
  await keeper.close();
  t.same(place(keeper.get(key)), [1, 3]);
  await store.reopen();
  t.same(place(keeperOf(store.state).get(key)), [1, 3], "it is on disk");
});

await tap.test(
  "of what other nodes tell the later stays, whether here it is gathered, written or neither",
  async (t) => {
    const { state } = await openStore(t);
    for (const settle of [async () => {}, (keeper: CursorKeeper) => keeper.flush()]) {
      const keeper = keeperOf(state);
      keeper.seek(key, 50);
      await settle(keeper);
      const { generation } = keeper.get(key)!;
      keeper.merge(key, { offset: 40, generation });
      t.same(place(keeper.get(key)), [generation, 50]);
      keeper.merge(key, { offset: 60, generation });
      t.same(place(keeper.get(key)), [generation, 60]);
      await settle(keeper);
      keeper.merge(key, { offset: 90, generation: generation - 1 });
      t.same(place(keeper.get(key)), [generation, 60], "an older generation's counts for nothing");
      keeper.merge(key, { offset: 10, generation: generation + 1 });
      t.same(place(keeper.get(key)), [generation + 1, 10], "another node's seek counts here");
      keeper.acknowledge(key, 70, generation);
      t.same(place(keeper.get(key)), [generation + 1, 10], "and outdates what is acknowledged here");
      await keeper.close();
      t.same(place(state.cursors.get(key)), [generation + 1, 10]);
    }
  },
);

await tap.test(
  "what was moved here is told once it is on disk; what others told is not told again",
  async (t) => {
    const { state } = await openStore(t);
    const told: [CursorKey, Cursor][] = [];
    const keeper = keeperOf(state, (cursors) => {
      for (const [name, cursor] of cursors) {
        state.refresh();
        t.same(place(state.cursors.get(name)), place(cursor), "on disk");
        told.push([name, cursor]);
      }
    });
    const [theirs, both] = [cursorKey(2, "phone", "home"), cursorKey(3, "phone", "home")];
    keeper.begin(key, 1);
    keeper.acknowledge(key, 2, 0);
    keeper.merge(theirs, { offset: 7, generation: 0 });
    keeper.merge(both, { offset: 5, generation: 0 });
    keeper.acknowledge(both, 6, 0);
    await keeper.flush();
    t.same(
      new Map(told.map(([name, cursor]) => [name, place(cursor)])),
      new Map([
        [key, [0, 2]],
        [both, [0, 6]],
      ]),
    );
    keeper.merge(key, { offset: 2, generation: 0 });
    keeper.acknowledge(key, 1, 0);
    await keeper.close();
    t.equal(told.length, 2, "nothing changed, nothing told");
  },
);

const unwritable = [
  ["a name longer than LMDB's keys", cursorKey(1, "d".repeat(1_975), "home"), { offset: 1, generation: 0 }],
  ["a name that nodes do not tell", cursorKey(1, "d".repeat(1_100), "home"), { offset: 1, generation: 0 }],
  ["an offset that is none", cursorKey(2, "phone", "home"), { offset: Number.NaN, generation: 0 }],
  ["a generation past 32 bits", cursorKey(3, "phone", "home"), { offset: 1, generation: 2 ** 33 }],
  ["a user that is none", cursorKey(Number.NaN, "phone", "home"), { offset: 1, generation: 0 }],
] as const;

await tap.test("a cursor that cannot be written is given up alone, and the others are written", async (t) => {
  const store = await openStore(t);
  const refused: [CursorKey, string][] = [];
  const told: CursorKey[] = [];
  const keeper = new CursorKeeper(store.state, {
    onFailure,
    onRefused: (name, { message }) => refused.push([name, message]),
    onWritten: (cursors) => told.push(...cursors.map(([name]) => name)),
  });
  const good = ["a", "b", "c", "d", "e"].map((device) => cursorKey(1, device, "home"));
  for (const [i, [, name, cursor]] of unwritable.entries()) {
    keeper.acknowledge(good[i]!, 5, 0);
    keeper.acknowledge(name, cursor.offset, cursor.generation);
  }
  await keeper.flush();
  for (const [i, [why, name]] of unwritable.entries()) {
    t.same(place(store.state.cursors.get(good[i]!)), [0, 5], `beside ${why}`);
    await t.rejects(keeper.flush(name), { name: "CursorError" }, `${why}: who asks is told`);
    keeper.acknowledge(name, 9, 0);
    await keeper.flush();
  }
  t.same(new Set(told), new Set(good), "nobody is told of one that is not on disk");
  t.equal(refused.length, unwritable.length, "each is told once, however often it comes");
  t.equal(keeper.refused, unwritable.length);
  t.equal(keeper.unwrittenMs, 0);
  keeper.acknowledge(good[0]!, 6, 0);
  await keeper.flush(good[0]);
  await keeper.close();
  await store.reopen();
  t.same(place(store.state.cursors.get(good[0]!)), [0, 6], "and all goes on");
});

await tap.test(
  "how long a cursor has waited is told while the disk takes none, and it is written once it does",
  async (t) => {
    const { state } = await openStore(t);
    const failures: unknown[] = [];
    // The one thing that is not real here: a disk that fails for as long as the test says.
    let isBroken = true;
    const failing = Object.create(state, {
      writeCursors: {
        value: (...given: Parameters<State["writeCursors"]>) =>
          isBroken ? Promise.reject(new Error("I/O error")) : state.writeCursors(...given),
      },
    }) as State;
    const keeper = new CursorKeeper(failing, { onFailure: (error) => failures.push(error) });
    t.equal(keeper.unwrittenMs, 0);
    keeper.acknowledge(key, 5, 0);
    await t.rejects(keeper.flush(key), { message: "I/O error" });
    const waited = keeper.unwrittenMs;
    t.ok(waited > 0);
    keeper.acknowledge(key, 6, 0);
    await t.rejects(keeper.flush(), { message: "I/O error" });
    t.ok(keeper.unwrittenMs > waited, "counted from the first that could not be written");
    t.same(place(keeper.get(key)), [0, 6], "readers go on");
    isBroken = false;
    while (keeper.unwrittenMs > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    t.same(place(state.cursors.get(key)), [0, 6], "by itself");
    await keeper.close();
  },
);
