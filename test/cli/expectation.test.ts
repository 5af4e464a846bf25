/* What a subscriber must have received. */

import * as fc from "fast-check";
import { test } from "tap";

import {
  compare,
  type Delivery,
  type Entry,
  ExpectationIndex,
  expectHome,
  expectMentions,
  type PostEntry,
  type Reader,
  type RepostEntry,
} from "../../clients/cli/replay/expectation.ts";

const me = 0;
const [bob, carol, stranger] = [1, 2, 3];
const reader: Reader = { user: me, following: new Set([bob, carol]) };
let next = 0;

function post(author: number, more: Partial<PostEntry> = {}): PostEntry {
  const number = ++next;
  return { kind: "post", id: `p${number}`, cursor: `e-${number}`, author, ...more };
}
function repost(author: number, original: PostEntry): RepostEntry {
  const number = ++next;
  return { kind: "repost", id: `r${number}`, cursor: `e-${number}`, author, original };
}
function came(...entries: Entry[]): Delivery[] {
  return entries.map(({ cursor, kind, id }) => ({ cursor, what: `${kind} ${id}` }));
}
function many(count: number, author: number): PostEntry[] {
  return Array.from({ length: count }, () => post(author));
}

void test("home holds posts and reposts of those followed and the reader's own, and nobody else's", async (t) => {
  const mine = post(me);
  const bobs = post(bob);
  const strangers = post(stranger);
  const entries = [mine, bobs, strangers, repost(carol, strangers), repost(stranger, bobs)];
  t.same(expectHome(reader, entries), [mine, bobs, entries[3]]);
});

void test("a reply is shown to one who follows both, who is answered, or who wrote it", async (t) => {
  const carols = post(carol);
  const strangers = post(stranger);
  const mine = post(me);
  const toCarol = post(bob, { replyTo: carols });
  const toStranger = post(bob, { replyTo: strangers });
  const toMe = post(bob, { replyTo: mine });
  const byMe = post(me, { replyTo: strangers });
  const entries = [carols, strangers, mine, toCarol, toStranger, toMe, byMe];
  t.same(expectHome(reader, entries), [carols, mine, toCarol, toMe, byMe]);
});

void test("a reply within its author's own conversation, or to themself, is shown", async (t) => {
  const began = post(bob);
  const asked = post(stranger, { replyTo: began });
  const inOwn = post(bob, { replyTo: asked });
  const elsewhere = post(stranger);
  const hidden = post(bob, { replyTo: elsewhere });
  const toSelf = post(bob, { replyTo: hidden });
  const entries = [began, asked, inOwn, elsewhere, hidden, toSelf];
  t.same(expectHome(reader, entries), [began, inOwn, toSelf]);
});

void test("a repost is hidden while its original is among the 40 candidates before it", async (t) => {
  const original = post(bob);
  const within = [original, ...many(39, bob), repost(carol, original)];
  t.equal(expectHome(reader, within).at(-1)?.kind, "post");
  const beyond = [original, ...many(40, bob), repost(carol, original)];
  t.equal(expectHome(reader, beyond).at(-1)?.kind, "repost");
});

void test("what the reader cannot see does not count among the 40", async (t) => {
  const original = post(bob);
  const entries = [
    original,
    ...many(100, stranger),
    post(bob, { replyTo: post(stranger) }),
    repost(carol, original),
  ];
  t.same(expectHome(reader, entries), [original]);
});

void test("a hidden repost counts as a candidate, and as its original", async (t) => {
  const original = post(bob);
  const hidden = repost(carol, original);
  const again = repost(me, original);
  // 45 candidates after the original, but only 25 after its hidden repost.
  const entries = [original, ...many(20, bob), hidden, ...many(25, bob), again];
  t.notOk(expectHome(reader, entries).includes(hidden));
  t.notOk(expectHome(reader, entries).includes(again));
});

void test("an original unseen is shown by its first repost only", async (t) => {
  const strangers = post(stranger);
  const first = repost(bob, strangers);
  t.same(expectHome(reader, [strangers, first, repost(carol, strangers)]), [first]);
});

void test("mentions hold each post that mentions the reader, by whomever but the reader; a reply alone is none", async (t) => {
  const mine = post(me);
  const entries = [
    mine,
    post(stranger, { mentioned: me }),
    post(me, { mentioned: me }),
    post(bob, { mentioned: carol }),
    post(bob, { replyTo: mine }),
  ];
  t.same(expectMentions(reader, entries), [entries[1]]);
});

void test("the index finds what a look at every entry finds", async (t) => {
  const user = fc.nat({ max: 6 });
  const step = fc.record({
    author: user,
    about: fc.nat({ max: 30 }),
    kind: fc.constantFrom("post", "mention", "reply", "repost"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.uniqueArray(user), user, (steps, following, who) => {
      const entries: Entry[] = [];
      const posts: PostEntry[] = [];
      for (const { author, about, kind } of steps) {
        const target = posts.at(-1 - about);
        const entry =
          kind === "repost" && target !== undefined
            ? repost(author, target)
            : post(author, {
                ...(kind === "mention" ? { mentioned: about % 7 } : {}),
                ...(kind === "reply" && target !== undefined ? { replyTo: target } : {}),
              });
        entries.push(entry);
        if (entry.kind === "post") posts.push(entry);
      }
      const one: Reader = { user: who, following: new Set(following) };
      const index = new ExpectationIndex(entries);
      t.equal(
        index
          .home(one)
          .map((e) => e.id)
          .join(),
        expectHome(one, entries)
          .map((e) => e.id)
          .join(),
      );
      t.equal(
        index
          .mentions(one)
          .map((e) => e.id)
          .join(),
        expectMentions(one, entries)
          .map((e) => e.id)
          .join(),
      );
    }),
    { numRuns: 50 },
  );
});

void test("what came is compared with what should have: missing, repeated, out of order, unexpected", async (t) => {
  const expected = many(4, bob);
  const [a, b, c, d] = expected as [PostEntry, PostEntry, PostEntry, PostEntry];
  const none = { missing: 0, repeated: 0, outOfOrder: 0, unexpected: 0 };
  t.same(compare(expected, came(a, b, c, d)), none);
  t.same(compare(expected, came(a, c, d)), { ...none, missing: 1 });
  t.same(compare(expected, came(a, b, b, c, d, a)), { ...none, repeated: 2 });
  t.same(compare(expected, came(a, c, b, d)), { ...none, outOfOrder: 1 });
  t.same(compare(expected, came(a, b, c, d, post(stranger))), { ...none, unexpected: 1 });
  t.same(compare(expected, came(a, b, c, { ...d, id: "other" })), { ...none, missing: 1, unexpected: 1 });
  t.same(compare([], came()), none);
});
