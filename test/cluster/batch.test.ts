import { pack } from "msgpackr";
import tap from "tap";

import { BatchError, batchFormat, decodeBatch, encodeBatch } from "../../broker/cluster/batch.ts";
import type { Stamped } from "../../broker/state/index.ts";

const commands: Stamped[] = [
  {
    op: "post",
    user: "alice",
    text: "hi @bob",
    mentions: ["bob"],
    tags: [],
    data: { a: [1, null] },
    key: "k",
    at: 5,
  },
  { op: "trim", floor: 2 ** 40, most: 500, at: 6 },
];

await tap.test("a batch comes back as it was", (t) => {
  const batch = { writer: "w", generation: 2, number: 7, commands };
  t.same(decodeBatch(encodeBatch(batch)), batch);
  t.end();
});

await tap.test("commands of the first format are marked: that version dropped no users", (t) => {
  const before = pack([1, "w", 1, 1, commands]);
  t.same(
    decodeBatch(before).commands,
    commands.map((command) => Object.assign(structuredClone(command), { keepsUsers: true })),
  );
  t.end();
});

await tap.test("one of a newer format says what to do", (t) => {
  const newer = pack([batchFormat + 1, "w", 1, 1, "who knows"]);
  t.throws(() => decodeBatch(newer), { name: "BatchError", message: /upgrade this node/ });
  t.end();
});

await tap.test("what is no batch is not taken for one", (t) => {
  const good: unknown[] = [batchFormat, "w", 1, 1, commands];
  const bad: unknown[] = [
    Buffer.from("hello"),
    Buffer.alloc(0),
    pack({ v: 1 }),
    ...[0, 1, 2, 3, 4].map((i) => pack(good.with(i, null))),
    pack(good.with(2, 0)),
    pack(good.with(3, 1.5)),
  ];
  for (const bytes of bad) t.throws(() => decodeBatch(bytes as Buffer), BatchError);
  t.end();
});
