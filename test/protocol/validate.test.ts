/* Checking requests: what is wrong is named, and finding it out costs no more for a frame that holds much. */

import { test } from "tap";

import { WhalesongError, checkRequest, excessOf } from "../../protocol/index.ts";

/** An array whose items are counted as they are looked at. */
function counted(items: unknown[]): { items: unknown[]; looks: () => number } {
  let count = 0;
  const proxy = new Proxy(items, {
    get: (target, name, receiver) => {
      if (typeof name === "string" && /^\d+$/.test(name)) count++;
      return Reflect.get(target, name, receiver) as unknown;
    },
  });
  return { items: proxy, looks: () => count };
}

function refusal(frame: unknown): string {
  try {
    checkRequest(frame);
  } catch (error) {
    if (!(error instanceof WhalesongError)) throw error;
    return `${error.code} ${error.details.field}: ${error.message}`;
  }
  throw new Error("accepted");
}

void test("the first fault ends the check: nothing grows with what a frame holds", async (t) => {
  for (const items of [
    Array(30_000).fill(1),
    Array(30_000).fill("a"),
    Array(30_000).fill(null),
  ] as unknown[][]) {
    for (const field of ["mentions", "tags"]) {
      const many = counted(items);
      t.match(
        refusal({ op: "post", text: "", [field]: many.items }),
        `${field}: must not have more than 50 items`,
      );
      t.equal(many.looks(), 0, `${field}: none is looked at`);
    }
    for (const [op, field] of [
      ["post", "text"],
      ["post", "as"],
      ["post", "key"],
      ["subscribe", "as"],
      ["subscribe", "stream"],
      ["read", "filter"],
      ["hello", "token"],
      ["ack", "cursor"],
      ["ping", "id"],
      ["ping", "unknown"],
    ]) {
      const many = counted(items);
      refusal({ op, text: "", stream: "home", sub: 1, [field!]: many.items });
      t.ok(many.looks() < 10, `${op} ${field}: ${many.looks()} are looked at`);
    }
  }
  const wrong = counted([...Array<string>(10).fill("a"), ...Array<number>(40).fill(1)]);
  t.match(refusal({ op: "post", text: "", mentions: wrong.items }), "mentions.10: must be string");
  t.ok(wrong.looks() < 100, `${wrong.looks()} looks`);
});

void test("what is wrong is told by the field, whatever else is", async (t) => {
  const unknown = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`x${i}`, i]));
  for (const [frame, expected] of [
    [{ op: "post", text: "", ...unknown }, "bad_request x0: x0: post has no such field"],
    [
      { op: "read", stream: "home", filter: unknown },
      "bad_request filter.x0: filter.x0: read has no such field",
    ],
    [{ op: "post" }, "bad_request text: text: post needs this field"],
    [{ op: "post", text: 1 }, "bad_request text: text: must be string"],
    [{ op: "post", text: "", mentions: [""] }, "mentions.0: must not have fewer than 1 characters"],
    [{ op: "post", text: "", mentions: "bob" }, "mentions: must be array"],
    [{ op: "read", stream: "home", limit: 0 }, "limit: must be >= 1"],
    [
      { op: "read", stream: "home", filter: { replies: "x" } },
      'filter.replies: one of "all", "followed", "none"',
    ],
    [{ op: "read", stream: "home", filter: null }, "filter: must be object"],
    [{ op: "subscribe", stream: "home", as: [] }, "bad_request as: as: must match"],
    [{ op: "ping", id: -1 }, "id: must be >= 0"],
    [JSON.parse('{"op":"ping","__proto__":1}'), "__proto__: ping has no such field"],
    [{ op: "constructor" }, 'unknown_op op: op: there is no operation "constructor"'],
  ] as [unknown, string][])
    t.match(refusal(frame), expected);
});

void test("data that is too long or too deep is known by a part of it", async (t) => {
  const most = { levels: 4, bytes: 1_000 };
  const many = counted(Array(30_000).fill(1));
  t.equal(excessOf(many.items, most), "bytes");
  t.ok(many.looks() <= 1_000, `${many.looks()} are looked at`);
  t.equal(excessOf(["x".repeat(1_000)], most), "bytes");
  t.equal(excessOf({ ["x".repeat(1_000)]: 1 }, most), "bytes");
  t.equal(excessOf([[[[[]]]]], most), "levels");
  t.equal(excessOf({ a: [{ b: [{}] }] }, most), "levels");
  t.equal(excessOf(JSON.parse("[".repeat(30_000) + "]".repeat(30_000)), most), "levels");
  for (const value of [
    "x".repeat(998),
    Array(499).fill(1),
    { a: "x".repeat(992) },
    1,
    null,
    [[[[]]]],
    "é".repeat(499),
  ])
    t.equal(excessOf(value, most), undefined, JSON.stringify(value).slice(0, 20));
});
