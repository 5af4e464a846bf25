/* Gossip messages: what is sent is what is read, and no bytes do harm. */

import fc from "fast-check";
import { Unpackr } from "msgpackr";
import tap from "tap";

import {
  GossipError,
  type GossipMessage,
  decodeGossip,
  encodeGossip,
} from "../../broker/cluster/gossip-messages.ts";
import { cursorKey, maxOffset, provisional } from "../../broker/state/index.ts";

const key = fc
  .tuple(fc.integer({ min: 1, max: 2 ** 32 - 1 }), fc.string({ maxLength: 20 }), fc.string({ maxLength: 20 }))
  .map(([user, device, stream]) => cursorKey(user, device, stream));
const row = fc.tuple(key, fc.nat(maxOffset), fc.nat(2 ** 31 - 1));
const name = fc.string({ minLength: 1, maxLength: 30, unit: "grapheme-ascii" });
const have = fc.dictionary(fc.stringMatching(/^[0-9a-f]{16}$/), fc.nat(), {
  noNullPrototype: true,
});
const body = fc.oneof(
  fc.record({ kind: fc.constant("update" as const), number: fc.nat(), cursors: fc.array(row) }),
  fc.record({ kind: fc.constant("standing" as const), have }),
  fc.record({ kind: fc.constantFrom("hello" as const, "refused" as const, "bye" as const) }),
  fc.record({ kind: fc.constant("find" as const), ticket: fc.nat(), keys: fc.array(key) }),
  fc.record({ kind: fc.constant("found" as const), ticket: fc.nat(), cursors: fc.array(row) }),
  fc.record({ kind: fc.constant("page" as const), after: fc.option(key) }),
  fc.record({
    kind: fc.constant("rows" as const),
    cursors: fc.array(row),
    next: fc.option(key),
    have: fc.option(have),
  }),
);
const message = fc
  .tuple(fc.record({ epoch: name, run: name, node: name }), body)
  .map(([head, rest]): GossipMessage => Object.assign({}, head, rest));

await tap.test("what is sent is what is read", async (t) => {
  fc.assert(
    fc.property(message, (sent) => {
      const { v, ...read } = decodeGossip(encodeGossip(sent)) as GossipMessage & { v: number };
      t.equal(v, 1);
      t.same(read, sent);
    }),
  );
});

function updateOf(cursors: unknown[]): GossipMessage {
  const update = { epoch: "e", run: "r", node: "n", kind: "update", number: 1, cursors };
  return update as GossipMessage;
}

await tap.test("a row that is no cursor is left out, and those beside it are heard", async (t) => {
  const good = [cursorKey(7, "phone", "home"), 5, 0] as const;
  for (const bad of [
    [cursorKey(7, "d".repeat(1_100), "home"), 5, 0],
    [cursorKey(7, "phone", "home"), -1, 0],
    [cursorKey(0, "phone", "home"), 5, 0],
    ["home", 5, 0],
    [good[0], 5],
    null,
  ])
    t.match(decodeGossip(encodeGossip(updateOf([bad, good, bad]))), { cursors: [good] }, JSON.stringify(bad));
});

await tap.test("whatever bytes come, they are a message or are refused as none", async (t) => {
  let refused = 0;
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.tuple(message, fc.nat(), fc.nat(255)).map(([sent, at, byte]) => {
          const bytes = Uint8Array.from(encodeGossip(sent));
          bytes[at % bytes.length] = byte;
          return bytes;
        }),
      ),
      (bytes) => {
        const error = refusal(bytes);
        if (error === undefined) return;
        refused++;
        if (!(error instanceof GossipError)) throw error;
      },
    ),
    { numRuns: 3_000 },
  );
  t.ok(refused > 500, `${refused} were refused`);
});

/** The error of reading them; undefined when they are a message. */
function refusal(bytes: Uint8Array): unknown {
  try {
    decodeGossip(bytes);
    return undefined;
  } catch (error) {
    return error;
  }
}

await tap.test(
  "provisional cursors travel beside the others, where an older version does not look",
  async (t) => {
    const rows: [string, number, number][] = [
      [cursorKey(1, "phone", "home"), 5, 0],
      [cursorKey(2, "phone", "home"), 6, provisional],
      [cursorKey(3, "phone", "home"), 7, 2],
    ];
    const head = { epoch: "e", run: "r", node: "n" };
    for (const sent of [
      { kind: "update", number: 1, cursors: rows },
      { kind: "found", ticket: 1, cursors: rows },
      { kind: "rows", cursors: rows, next: rows[2]![0], have: null },
    ] as const) {
      const bytes = encodeGossip({ ...head, ...sent, cursors: [...rows] });
      const seen = new Unpackr({ useRecords: false, mapsAsObjects: true }).unpack(bytes) as {
        cursors: unknown[];
      };
      t.same(seen.cursors, [rows[0], rows[2]], `${sent.kind}: what an older version sees`);
      const read = decodeGossip(bytes) as { cursors: unknown[] };
      t.same(new Set(read.cursors), new Set(rows));
      t.notOk("begun" in read);
    }
  },
);
