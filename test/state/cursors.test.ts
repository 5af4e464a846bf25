/* Cursors: what is kept of them, and what makes way, against the dumbest thing that could be right. */

import * as fc from "fast-check";
import tap from "tap";

import { type Cursor, type CursorKey, cursorKey, isLater, provisional } from "../../broker/state/index.ts";
import { limits } from "../../protocol/index.ts";
import { openStore } from "./store.ts";

/** Neighbours in the table, whatever bytes their numbers end in. */
const users = [1, 2, 255, 256];
/** Of each user, more than may be kept. */
const names = Math.round(limits.cursors * 1.3);

await tap.test(
  "a user has so many cursors at most: a new one takes the place of the one furthest behind, of nobody else's",
  async (t) => {
    const store = await openStore(t);
    const model = users.map(() => new Map<CursorKey, Cursor>());
    const put = fc.record({
      user: fc.nat(users.length - 1),
      name: fc.nat(names - 1),
      offset: fc.nat(1_000),
      generation: fc.integer({ min: provisional, max: 3 }),
    });
    const puts = fc.sample(put, { numRuns: 6_000, seed: 4 });
    while (puts.length > 0) {
      const batch: [CursorKey, Cursor][] = [];
      const expected: CursorKey[] = [];
      for (const { user, name, offset, generation } of puts.splice(0, 97)) {
        const key = cursorKey(users[user]!, `d${name % 7}`, `tag:${String(name).padStart(4, "0")}`);
        const kept = model[user]!;
        if (!kept.has(key) && kept.size === limits.cursors) {
          const last = furthestBehind(kept);
          kept.delete(last);
          expected.push(last);
        }
        kept.set(key, { offset, generation });
        batch.push([key, { offset, generation }]);
      }
      const removed = await store.state.writeCursors(batch);
      if (removed.join() !== expected.join()) t.fail(`${removed.join()} made way, not ${expected.join()}`);
    }
    await store.reopen();
    for (const kept of model) {
      t.equal(kept.size, limits.cursors);
      for (const [key, cursor] of kept) {
        const found = store.state.cursors.get(key);
        if (found?.offset !== cursor.offset || found.generation !== cursor.generation) t.fail(key);
      }
    }
    t.equal(store.state.size().tables["cursors"]!.entries, users.length * limits.cursors);
  },
);

function furthestBehind(cursors: Map<CursorKey, Cursor>): CursorKey {
  const sorted = [...cursors].sort(
    ([one, { offset: a }], [other, { offset: b }]) => a - b || (one < other ? -1 : 1),
  );
  return sorted[0]![0];
}

await tap.test("all cursors come one after the other, from any of them on", async (t) => {
  const { state } = await openStore(t);
  const written = new Map<CursorKey, Cursor>();
  for (let user = 1; user <= 300; user += 7)
    for (const device of ["phone", "phöne", "a", "ab"])
      for (const stream of ["home", "user:zoë"])
        written.set(cursorKey(user, device, stream), { offset: user * 1_000, generation: user });
  await state.writeCursors(written);
  const all = [...state.cursors.after(undefined)];
  t.same(new Map(all), written);
  t.equal(all.length, written.size);
  for (const from of [0, 1, 100, all.length - 1])
    t.same([...state.cursors.after(all[from]![0])], all.slice(from + 1));
  t.same([...state.cursors.after(cursorKey(3, "none", "home"))], all.slice(8), "after one that is not there");
});

const cursor = fc.record({ offset: fc.nat(5), generation: fc.integer({ min: provisional, max: 3 }) });

function later(a: Cursor, b: Cursor): Cursor {
  return isLater(b, a) ? b : a;
}

await tap.test(
  "the later of cursors is the same in whatever order and however often they come",
  async (t) => {
    fc.assert(
      fc.property(cursor, cursor, cursor, (a, b, c) => {
        t.same(later(a, a), a);
        t.same(later(a, b), later(b, a));
        t.same(later(later(a, b), c), later(a, later(b, c)));
      }),
    );
    t.ok(isLater({ offset: 0, generation: 0 }, undefined), "any is later than none");
    t.ok(
      isLater({ offset: 1, generation: 2 }, { offset: 9, generation: 1 }),
      "a seek back undoes what was before",
    );
    t.ok(
      isLater({ offset: 1, generation: 0 }, { offset: 9, generation: provisional }),
      "a provisional one yields to any that was begun or acknowledged where others were known",
    );
  },
);

await tap.test(
  "of more cursors than a user may have, all nodes keep the same, in whatever order they are told of them",
  async (t) => {
    const stores = [await openStore(t), await openStore(t), await openStore(t)];
    const told = Array.from({ length: limits.cursors + 90 }, (_, i): [CursorKey, Cursor] => [
      cursorKey(7, `d${i}`, "home"),
      { offset: i % 100, generation: 0 },
    ]);
    // Each store was told of some by its own clients, before it heard of all from the others.
    for (const [i, { state }] of stores.entries()) {
      const kept = new Map(told.filter((_, n) => n % stores.length === i));
      await state.writeCursors(kept);
    }
    const forth = told.toSorted(([, { offset: one }], [, { offset: other }]) => one - other);
    const shuffled = fc.sample(fc.shuffledSubarray(told, { minLength: told.length }), {
      numRuns: 1,
      seed: 7,
    });
    const orders = [forth, forth.toReversed(), ...shuffled];
    for (const [i, { state }] of stores.entries())
      for (const one of orders[i]!) {
        const known = state.cursors.get(one[0]);
        if (isLater(one[1], known))
          await state.writeCursors([[one[0], { ...one[1], isFromElsewhere: true }]]);
        state.refresh();
      }
    const [first, ...others] = stores.map(({ state }) => Array.from(state.cursors.after(undefined)));
    t.equal(first!.length, limits.cursors);
    for (const other of others) t.same(other, first);
    const last = first!.reduce((least, [, { offset }]) => Math.min(least, offset), Infinity);
    t.ok(
      told.every(([key, { offset }]) => offset <= last || first!.some(([kept]) => kept === key)),
      "those furthest on",
    );
  },
);
