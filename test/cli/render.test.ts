/* Events as lines for people. */

import { test } from "tap";

import { plain, renderItem, wantsColors } from "../../clients/cli/render.ts";
import type { Post, StreamItem } from "../../protocol/schemas.ts";

const at = new Date(2026, 4, 17, 12, 4, 31).getTime();
const post: Post = { id: "p-1", author: "bob", text: "hello", mentions: [], tags: [], at };
const options = { reader: "Alice", colors: false, nowMs: at + 1_000 };

function line(item: StreamItem, more: Partial<typeof options> = {}): string {
  return renderItem(item, { ...options, ...more });
}

void test("a post shows time, author, text and id", async (t) => {
  t.equal(line({ event: "post", cursor: "c", post }), "12:04:31  bob          hello  p-1");
});

void test("a line of another day carries its date", async (t) => {
  t.match(line({ event: "post", cursor: "c", post }, { nowMs: at + 86_400_000 }), /^2026-05-17 12:04:31 /);
});

void test("replies, mentions of the reader, reposts and deletes are marked", async (t) => {
  t.match(line({ event: "post", cursor: "c", post: { ...post, replyTo: "p-0" } }), /↩ p-0/);
  t.match(line({ event: "post", cursor: "c", post: { ...post, mentions: ["alice"] } }), /@ mentions you/);
  t.notMatch(line({ event: "post", cursor: "c", post: { ...post, mentions: ["carol"] } }), /mentions you/);
  t.equal(
    line({ event: "repost", cursor: "c", id: "r-1", by: "carol", at, post }),
    "12:04:31  carol        ↻ bob: hello  p-1",
  );
  t.equal(line({ event: "delete", cursor: "c", id: "p-1" }), "✗ deleted  p-1");
});

void test("what others wrote cannot drive the terminal", async (t) => {
  t.equal(plain("one\r\ntwo\nthree"), "one ⏎ two ⏎ three");
  t.equal(plain("\u{1b}[2Jgone\u{7}\u{9b}31m\u{202e}x"), " [2Jgone  31m x");
  for (const code of [0x61c, 0x200e, 0x200f, 0x202a, 0x2066, 0x2069, 0x2028])
    t.equal(plain(`a${String.fromCodePoint(code)}b`), "a b", code.toString(16));
  const nasty = { ...post, author: "b\u{1b}", text: "\u{1b}]0;title\u{7}" };
  t.notMatch(line({ event: "post", cursor: "c", post: nasty }), "\u{1b}");
});

void test("colours come only to a terminal that wants them", async (t) => {
  const tty = { isTTY: true } as NodeJS.WriteStream;
  t.equal(wantsColors(tty, {}), true);
  t.equal(wantsColors(tty, { NO_COLOR: "1" }), false);
  t.equal(wantsColors(tty, { NO_COLOR: "" }), true);
  t.equal(wantsColors(tty, { TERM: "dumb" }), false);
  t.equal(wantsColors({ isTTY: false } as NodeJS.WriteStream, {}), false);
  t.match(line({ event: "post", cursor: "c", post }, { colors: true }), "\u{1b}[");
});
