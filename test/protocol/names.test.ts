/* Names: which handles, tags and stream names are valid, and which spellings are one. */

import * as fc from "fast-check";
import { test } from "tap";

import { WhalesongError } from "../../protocol/errors.ts";
import { limits } from "../../protocol/limits.ts";
import { checkHandle, checkTag, fold, formatStream, parseStream } from "../../protocol/names.ts";
import { extractTags } from "../../protocol/text.ts";

/** The message `check` refuses with; fails when it does not refuse, or without naming the field. */
function refusal(check: () => unknown, field: string): string {
  try {
    check();
  } catch (error) {
    if (!(error instanceof WhalesongError) || error.code !== "bad_request") throw error;
    if (error.details.field !== field) throw new Error(`names ${error.details.field}`, { cause: error });
    return error.message;
  }
  throw new Error("accepted");
}

function accepts(check: () => unknown): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}

void test("a handle is letters and digits of any script, _ . and -", async (t) => {
  for (const handle of ["ada", "Ada_L.-1", "жук", "名前", "أحمد", "चाय", "٣", "_", "-", "\u{20000}", "ｂ"]) {
    t.equal(checkHandle(handle), handle);
  }
  t.equal(checkHandle("jose\u0301"), "josé", "and comes back in NFC");
});

void test("a refused handle is answered with the field, the limit and the mend", async (t) => {
  const most = limits.handleChars;
  t.equal(
    refusal(() => checkHandle(""), "user"),
    "user: a handle needs 1 character at least",
  );
  t.equal(
    refusal(() => checkHandle("a b", "mentions.3"), "mentions.3"),
    'mentions.3: handle "a b": letters, digits, _ . - only; got " " (U+0020)',
  );
  t.equal(
    refusal(() => checkHandle("@ada"), "user"),
    'user: handle "@ada": letters, digits, _ . - only; got "@"',
  );
  t.equal(
    refusal(() => checkHandle("a".repeat(most + 1)), "user"),
    `user: a handle has ${most} characters at most; got ${most + 1}`,
  );
  t.match(
    refusal(() => checkHandle("a".repeat(1e6)), "user"),
    "got 1000000",
  );
});

void test("a handle holds nothing that a reader cannot see, nor does it begin with a mark", async (t) => {
  for (const char of [
    "\ufe0f",
    "\u200d",
    "\u200b",
    "\u034f",
    "\u3164",
    "\u115f",
    "\u{e0100}",
    "\ud800",
    "\0",
  ]) {
    t.match(
      refusal(() => checkHandle(`ada${char}`), "user"),
      /got ".*" \(U\+[0-9A-F]{4,5}\)$/,
    );
  }
  t.match(
    refusal(() => checkHandle("\u0301a"), "user"),
    "(U+0301)",
  );
});

void test("dots alone are no handle: URLs swallow them", async (t) => {
  for (const handle of [".", "..", "...", ".".repeat(limits.handleChars)])
    t.match(
      refusal(() => checkHandle(handle), "user"),
      "dots alone are no handle",
    );
  for (const handle of ["._", ".-", "a.", ".a", "..a", "-", "_", "--"]) t.equal(checkHandle(handle), handle);
  for (const handle of [".a", "..a", "a..", ".-"])
    t.equal(new URL(`http://x/v1/users/${handle}/home`).pathname, `/v1/users/${handle}/home`);
});

void test("no character that directs, joins or hides text is part of a handle, wherever it stands", async (t) => {
  for (let code = 0; code < 0x110000; code++) {
    const char = String.fromCodePoint(code);
    if (!/[\p{Cf}\p{Cc}\p{Cs}\p{Co}\p{Z}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/u.test(char))
      continue;
    for (const handle of [char, `ada${char}`, `${char}ada`, `a${char}da`])
      if (accepts(() => checkHandle(handle))) t.fail(`U+${code.toString(16)}`);
  }
});

void test("a tag that is given ends where one that is found does", async (t) => {
  for (const tag of ["rust\u200d", "\u200drust", "ru\u200dst", "rust\ufe0f", "بي\u200c", "rust\u200f"]) {
    t.match(
      refusal(() => checkTag(tag), "tag"),
      "letters, digits and _ only",
    );
    t.match(
      refusal(() => parseStream(`tag:${tag}`), "stream"),
      "letters, digits and _ only",
    );
  }
  for (const tag of ["بي\u200cبي", "ක්\u200dෂ"]) t.equal(checkTag(tag), tag);
});

void test("characters are counted, not units, and in the folded form where that is longer", async (t) => {
  const most = limits.handleChars;
  t.ok(checkHandle("\u{20000}".repeat(most)));
  t.ok(checkHandle("e\u0301".repeat(most)));
  t.ok(checkHandle("ß".repeat(most / 2)));
  t.match(
    refusal(() => checkHandle("ß".repeat(most / 2 + 1)), "user"),
    `got ${most + 2}`,
  );
});

void test("a tag may come with its sign and is returned without, in NFC", async (t) => {
  t.equal(checkTag("#tea"), "tea");
  t.equal(checkTag("＃Tea"), "Tea");
  t.equal(checkTag("cafe\u0301"), "café");
});

void test("a refused tag is answered with the field, the limit and the mend", async (t) => {
  const most = limits.tagChars;
  t.equal(
    refusal(() => checkTag("#"), "tag"),
    "tag: a tag needs 1 character at least",
  );
  t.equal(
    refusal(() => checkTag("green tea", "tags.0"), "tags.0"),
    'tags.0: tag "green tea": letters, digits and _ only; got " " (U+0020)',
  );
  t.equal(
    refusal(() => checkTag("##tea"), "tag"),
    'tag: tag "#tea": letters, digits and _ only; got "#"',
  );
  t.equal(refusal(() => checkTag("\ufe0ftea"), "tag").slice(-9), " (U+FE0F)");
  t.equal(
    refusal(() => checkTag("1_2"), "tag"),
    'tag: tag "1_2": a tag needs 1 letter at least',
  );
  t.equal(
    refusal(() => checkTag("a".repeat(most + 1)), "tag"),
    `tag: a tag has ${most} characters at most; got ${most + 1}`,
  );
  t.match(
    refusal(() => checkTag("ß".repeat(most)), "tag"),
    `got ${2 * most}`,
  );
});

const letters = fc.constantFrom(
  ..."aAzZ0_-.~&#@ :/é ßẞſıİiIςσΣΐﬁŉǰΩКк茶·・〜々〃٣ｂＢꭰᎠა\u1fb3\u{10400}\u{10428}",
  ..."\u0301\u0307\u0323\u0345\u200c\u200d\ufe0f\u20e3",
);
const names = fc.oneof(
  fc.array(letters, { minLength: 1, maxLength: 12 }).map((chars) => chars.join("")),
  fc.record({ char: letters, times: fc.integer({ min: 30, max: 110 }) }).map((r) => r.char.repeat(r.times)),
  fc.string({ unit: "binary", minLength: 1, maxLength: 6 }),
);

function isTagOfText(name: string): boolean {
  const found = extractTags(`#${name}`);
  return found.length === 1 && found[0] === name;
}

void test("a tag is valid exactly if a text can hold it", async () => {
  fc.assert(
    fc.property(names, (raw) => {
      const name = raw.normalize("NFC");
      fc.pre(!/^[#＃]/.test(name));
      return accepts(() => checkTag(name)) === isTagOfText(name);
    }),
    { numRuns: 5_000 },
  );
});

void test("spellings that differ in case alone fold to one", async (t) => {
  for (const [rule, ...spellings] of [
    ["ASCII", "Ada", "ADA", "ada"],
    ["ß and ẞ are ss", "Straße", "STRAẞE", "STRASSE", "strasse", "ſtraſſe"],
    ["σ, ς and Σ are one letter", "ΟΔΥΣΣΕΥΣ", "οδυσσευς", "οδυσσευσ"],
    ["İ is i with a dot above", "İn", "I\u0307n", "i\u0307n"],
    ["a ligature is its letters", "ﬁn", "FIN", "fin"],
    ["an iota below is an iota", "ᾳ", "ᾼ", "αι", "ΑΙ"],
    ["accents, composed or not", "ÉTÉ", "e\u0301te\u0301", "été"],
    ["marks in either order", "a\u0323\u0301", "A\u0301\u0323"],
    ["Cherokee, Georgian and Deseret", "ꭰა\u{10428}", "ᎠᲐ\u{10400}"],
    ["compatibility letters with a case of their own", "\u212a\u2126\u00b5", "kωμ"],
  ] as const) {
    t.equal(new Set(spellings.map(fold)).size, 1, rule);
  }
});

void test("spellings that differ in more than case stay apart", async (t) => {
  for (const [one, other] of [
    ["ın", "in"],
    ["İn", "in"],
    ["ın", "İn"],
    ["été", "ete"],
    ["ｔｅａ", "tea"],
    ["میخواهم", "می\u200cخواهم"],
    ["か", "カ"],
    ["bob.", "bob"],
  ] as const) {
    t.not(fold(one), fold(other), `${one} ${other}`);
  }
});

void test("a folded name is its own folded form, in NFC, and of the same case class", async () => {
  fc.assert(
    fc.property(names, (name) => {
      const folded = fold(name);
      return (
        fold(folded) === folded &&
        folded.normalize("NFC") === folded &&
        fold(name.normalize("NFD")) === folded &&
        fold(name.toLowerCase()) === folded &&
        (name.includes("ı") || fold(name.normalize("NFD").toUpperCase()) === folded)
      );
    }),
    { numRuns: 5_000 },
  );
});

void test("every character folds to what is stable, and valid in a name where it was valid itself", async (t) => {
  const wrong: string[] = [];
  for (let code = 0x80; code < 0x110000; code++) {
    const char = String.fromCodePoint(code);
    const folded = fold(char);
    if (folded === char) continue;
    const keepsHandle = !accepts(() => checkHandle(char)) || accepts(() => checkHandle(folded));
    const keepsTag = !accepts(() => checkTag(char)) || accepts(() => checkTag(folded));
    if (fold(folded) !== folded || !keepsHandle || !keepsTag) wrong.push(`U+${code.toString(16)}`);
  }
  t.same(wrong, []);
});

void test("a valid name is valid when folded, so that a canonical stream name reads back as itself", async () => {
  fc.assert(
    fc.property(names, fc.constantFrom("user", "tag"), (name, kind) => {
      const stream = `${kind}:${name}`;
      fc.pre(accepts(() => parseStream(stream)));
      const canonical = formatStream(parseStream(stream));
      return formatStream(parseStream(canonical)) === canonical;
    }),
    { numRuns: 5_000 },
  );
});

void test("a joiner stays one when its tag is folded, or is none to begin with", async (t) => {
  for (const tag of ["ක්\u200dෂ", "بي\u200cبي"])
    t.equal(formatStream(parseStream(`tag:${tag}`)), `tag:${tag}`);
  for (const tag of ["\u0345\u200d\u0323a", "ක\u0345\u200dෂ", "J\u030c\u200d\u0323a", "ක්\u200d\u0345"])
    t.throws(() => parseStream(`tag:${tag}`), { code: "bad_request" }, JSON.stringify(tag));
});

void test("a stream is named by its kind and what it is of", async (t) => {
  for (const kind of ["home", "mentions", "firehose"] as const) t.same(parseStream(kind), { kind });
  t.same(parseStream("user:Ada"), { kind: "user", user: "Ada" });
  t.same(parseStream("tag:#Tea"), { kind: "tag", tag: "Tea" });
  t.same(parseStream("thread:a:b"), { kind: "thread", post: "a:b" });
  t.equal(formatStream(parseStream("user:ADA")), "user:ada");
  t.equal(formatStream(parseStream("thread:XyZ")), "thread:XyZ");
});

void test("what names no stream is refused, and the field named", async (t) => {
  for (const stream of ["", "Home", "home:", "home:ada", "user", "thread:", "dms", ":", "constructor"]) {
    t.match(
      refusal(() => parseStream(stream), "stream"),
      "is none of home, mentions, user:HANDLE",
    );
  }
  t.match(
    refusal(() => parseStream("user:"), "stream"),
    "a handle needs 1 character",
  );
  t.match(
    refusal(() => parseStream("tag:a b"), "stream"),
    "letters, digits and _ only",
  );
});
