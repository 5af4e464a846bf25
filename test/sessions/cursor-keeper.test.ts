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

await tap.test("it says for how long cursors have not been written while some wait", async (t) => {
  const { state } = await openStore(t);
  let isStuck = true;
  const stuck = Object.create(state, {
    writeCursors: {
      value: (cursors: Iterable<[CursorKey, Cursor]>) =>
        isStuck ? Promise.reject(new Error("no")) : state.writeCursors(cursors),
    },
  }) as State;
  const keeper = new CursorKeeper(stuck, { onFailure: () => {} });
  t.equal(keeper.unwrittenMs, 0);
  keeper.acknowledge(key, 1, 0);
  await t.rejects(keeper.flush());
  const before = keeper.unwrittenMs;
  t.ok(before > 0);
  keeper.acknowledge(cursorKey(2, "phone", "home"), 1, 0);
  await t.rejects(keeper.flush());
  t.ok(keeper.unwrittenMs > before, "since the first of them came, whatever was tried");
  isStuck = false;
  await keeper.flush();
  t.equal(keeper.unwrittenMs, 0);
  await keeper.close();
});
