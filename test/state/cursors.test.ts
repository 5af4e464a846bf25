/* Cursors: what is kept of them, and what makes way, against the dumbest thing that could be right. */

import * as fc from "fast-check";
import tap from "tap";

import { type Cursor, type CursorKey, cursorKey } from "../../broker/state/index.ts";
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
      generation: fc.nat(3),
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
