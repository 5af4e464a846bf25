/* What a post's text mentions and tags: each rule by its name, then the whole against a naive reference. */

import * as fc from "fast-check";
import { test } from "tap";

import { limits } from "../../protocol/limits.ts";
import { checkHandle, checkTag, fold } from "../../protocol/names.ts";
import { extractMentions, extractTags, findMentions, findTags, type TextSpan } from "../../protocol/text.ts";
import { referenceMentions, referenceTags } from "./reference.ts";

/** A rule, with texts and what each of them yields, in order and with repetitions. */
type Rules = Record<string, [text: string, ...names: string[]][]>;

const mentionRules: Rules = {
  "a mention stands at the beginning, in the middle or at the end": [
    ["@ada look", "ada"],
    ["look, @ada, here", "ada"],
    ["look @ada", "ada"],
    ["@ada", "ada"],
  ],
  "a name is letters, digits and _ of ASCII, digits alone too": [
    ["@ada_l @1815 @_a @Z9", "ada_l", "1815", "_a", "Z9"],
    ["@ @! @é @ж @名", ""],
  ],
  "each of several mentions counts, across lines too": [["@ada @bob\n@cy\t@di", "ada", "bob", "cy", "di"]],
  "the full-width sign counts": [["＠ada и ＠bob", "ada", "bob"]],
  "the case stays as written": [["@AdaLovelace", "AdaLovelace"]],
  "scripts without spaces may surround a mention": [
    ["今日は@adaさんと", "ada"],
    ["（@ada）、@bobも", "ada", "bob"],
    ["привет@ada", "ada"],
    ["@adaж", "ada"],
    ["@adaｂ", "ada"],
  ],
  "no mention where a name runs on into an accented Latin letter": [
    ["@adaé @adaßx @adaœ @adaʻ @adaẹ", ""],
    ["@ada\u0301", ""],
    ["@ada élan", "ada"],
  ],
  "no mention directly before another at sign": [
    ["@_@ @ada@ @bob＠", ""],
    ["@ada@example.com", ""],
    ["@ada@bob and @cy", "cy"],
    ["@RT@bob", ""],
  ],
  "no mention in an e-mail address": [
    ["to ada@example.com or a.d_a@example.com", ""],
    ["support@example.com ends in rt", ""],
    ["josé@example.com", ""],
    ["jose\u0301@example.com", ""],
    ["ж@example.com", ""],
    ["write to rt@example.com or RT@mail.example.com", ""],
    ["foo+@xn--bcher-kva.example josé@xn--bcher-kva.example josé@a--b.c josé@mail-服务.example", ""],
    ["rt@bob. RT@ada...yes josé@cy--no e+@di--- josé@ed你好", "bob", "ada", "cy", "di", "ed"],
    ["の@first.lastに", "first.last"],
    ["write to foo+@example.com", ""],
    ...[..."!#$%&'*+/=?^_`{|}~-."].map((sign): [string] => [`foo${sign}@example.com`]),
    ["a.b+c-d_@example.co.uk mailto:foo+@example.com <foo+@example.com> josé+@example.com", ""],
    ['"foo bar"@example.com "foo+"@example.com foo+-+@example.com foo+bar@example.com', ""],
    ["ssh://git@example.com git@example.com:x git+@example.com:x https://u+@localhost/", ""],
    [
      "+@first.last -@first.last (.@first.last) ...@first.last",
      "first.last",
      "first.last",
      "first.last",
      "first.last",
    ],
    ["foo+@bob foo/@cy", "bob", "cy"],
  ],
  "no mention after a letter, a digit, _ or one of ! @ # $ % & *": [
    ["x@ada X@ada 7@ada _@ada", ""],
    ["!@ada @@ada #@ada $@ada %@ada &@ada *@ada", ""],
    ["＠@ada ＃@ada", ""],
  ],
  "other punctuation may stand before a mention": [
    [
      ".@ada (@bob) “@cy” /@di ,@ed :@fi ;@gus ?@hal -@ian +@jo",
      ..."ada bob cy di ed fi gus hal ian jo".split(" "),
    ],
  ],
  "RT may touch the sign, in either case, with or without a colon": [
    ["RT@ada rt@bob Rt@cy rT@di", "ada", "bob", "cy", "di"],
    ["RT:@ada RT @bob (RT@cy)", "ada", "bob", "cy"],
    ["xRT@ada 1RT@ada .RT@ada +RT@ada -RT@ada ~RT@ada _RT@ada", ""],
  ],
  "no mention directly before ://": [["@http://example.com @ftp://x", ""]],
  "a name with a slash and a letter is a list and mentions nobody": [
    ["@ada/friends and @bob/l-1, @cy", "cy"],
    ["@ada/ friends @bob/7th @cy/_x", "ada", "bob", "cy"],
    ["@ada/@bob", "ada", "bob"],
    ["@/list", ""],
  ],
  "one dot or hyphen between letters or digits belongs to the name": [
    ["@first.last @first-last @a.b-c_d.9", "first.last", "first-last", "a.b-c_d.9"],
    ["@ada. @bob.\n@cy- @di.", "ada", "bob", "cy", "di"],
    ["@ada...yes @bob--no @cy.-x", "ada", "bob", "cy"],
    ["@.ada @-bob", ""],
    ["@ada.été", "ada"],
  ],
  "other punctuation ends a name": [
    ["@ada's @bob: @cy&^$ @di! @ed? (@fi)", "ada", "bob", "cy", "di", "ed", "fi"],
  ],
  "a name has as many characters as a handle may have; of a longer one not even the beginning counts": [
    [`@${"a".repeat(limits.handleChars)}`, "a".repeat(limits.handleChars)],
    [`@${"a".repeat(limits.handleChars + 1)} @bob`, "bob"],
  ],
  "no mention in a URL": [
    ["https://example.com/@ada example.com/@bob http://localhost:80/@cy", ""],
    ["http://example.com?from=,@ada www.example.co.uk/x?y=.@bob", ""],
    ["http://u:p@example.com/.@ada http://[::1]:80/@bob http://例え.com/@cy", ""],
    ["example.com:8080/@ada", ""],
    ["http://example.com/a_(b)/@ada", ""],
  ],
  "a mention after a URL counts": [
    ["http://example.com/ @ada", "ada"],
    ["(http://example.com/x)@bob [example.com/x]@cy", "bob", "cy"],
    ["http://example.com/xの@ada http://example.com/x。@bob", "ada", "bob"],
    ["http://example.com,@ada http://example.com:@bob", "ada", "bob"],
    ['<a href="http://example.com/">@ada', "ada"],
  ],
  "what merely has slashes is no URL": [
    ["w/@ada and/or/@bob 1/2/@cy ://@di http://@ed etc./@fi", "ada", "bob", "cy", "di", "ed", "fi"],
    ["@first.last/@ada bob@example.com/@bob", "first.last", "ada", "bob"],
    ["sure?@ada what.ever?@bob", "ada", "bob"],
    ["a.b/@ada #x.yz/@bob 3.14/@cy x.yz:/@di", "ada", "bob", "cy", "di"],
  ],
};

const tagRules: Rules = {
  "a tag stands at the beginning, in the middle or at the end": [
    ["#tea time", "tea"],
    ["more #tea please", "tea"],
    ["more #tea", "tea"],
  ],
  "each of several tags counts, across lines too": [["#tea\n#milk #sugar", "tea", "milk", "sugar"]],
  "the full-width sign counts, and full-width letters and digits": [["＃tea ＃ｔｅａ１", "tea", "ｔｅａ１"]],
  "letters, digits and _ of any script": [
    ["#tea2 #2tea #t_e_a #_x", "tea2", "2tea", "t_e_a", "_x"],
    ["#naïve #größe #çay #ıı #İi #ʘn", "naïve", "größe", "çay", "ıı", "İi", "ʘn"],
    ["#чай #τσάι #თეა #Թեյ", "чай", "τσάι", "თეა", "Թեյ"],
    ["#お茶 #紅茶 #ティー #ﾃｨｰ #ｶﾞ #차 #ﾡﾢ", "お茶", "紅茶", "ティー", "ﾃｨｰ", "ｶﾞ", "차", "ﾡﾢ"],
    ["#شاي #شاي_٣ #٣شاي #תה", "شاي", "شاي_٣", "٣شاي", "תה"],
    [
      "#चाय #चाय_२ #চা #தேநீர் #ชาไทย #ជាតែ #လက်ဖက် #ཇ #ሻይ",
      ..."चाय चाय_२ চা தேநீர் ชาไทย ជាតែ လက်ဖက် ཇ ሻይ".split(" "),
    ],
    ["#\u{20000}\u{10400}\u{104a1} #\u{16f00}\u{16f51}", "\u{20000}\u{10400}\u{104a1}", "\u{16f00}\u{16f51}"],
  ],
  "a tag's name is in NFC": [["#cafe\u0301", "café"]],
  "what joins the letters of a word belongs to the tag": [
    ["#col·legi #بي\u200cبي #ක්\u200dෂ", "col·legi", "بي\u200cبي", "ක්\u200dෂ"],
    ["#בית־ספר #צ׳יפס #צה״ל", "בית־ספר", "צ׳יפס", "צה״ל"],
    [
      "#ཇ་ཇ #々人 #時々 #各〃 #あ〜い #あ～い #ア・イ #か゛",
      "ཇ་ཇ",
      "々人",
      "時々",
      "各〃",
      "あ〜い",
      "あ～い",
      "ア・イ",
      "か゛",
    ],
  ],
  "what shows nothing is no part of a tag, but between letters that it joins": [
    [
      "#rust\u200d🦀 #tea\u200d #tea\u200c, #tea\ufe0f #tea\ufe0e🫖 #tea\u034f #tea\u{e0100}",
      "rust",
      ..."tea".repeat(6).match(/.{3}/g)!,
    ],
    ["#ru\u200dst #茶\u200d茶 #ティ\u200cー #차\u200d차", "ru", "茶", "ティ", "차"],
    ["#بي\u200c #بي\u200d🦀 #ක්\u200d #ක්\u200dෂ\u200d", "بي", "بي", "ක්", "ක්\u200dෂ"],
    ["#بي\u200c\u200cبي #بي\u200c1", "بي", "بي"],
    ["#\u200dtea #\u200cبي #\u{3164}tea #\u115f", ""],
    ["#ᠮᠣ\u180bᠩ #ᠮᠣ\u180b", "ᠮᠣ\u180bᠩ", "ᠮᠣ"],
  ],
  "no tag without a letter": [["#7 #1234 #_ #1_2 #٣ #२ #〃 #・ #~ # #\u0301", ""]],
  "no tag where the sign is an emoji or a keycap": [["#\ufe0ftea #\u20e3tea #\ufe0f\u20e3", ""]],
  "no tag after a letter, digit, joiner or _, or after &": [
    ["x#tea 7#tea _#tea é#tea 茶#tea ٣#tea &#tea; ・#tea \u{20000}#tea a\u0301#tea", ""],
  ],
  "punctuation, brackets and another sign may stand before a tag": [
    [":#a ;#b ,#c .#d !#e ?#f (#g) [#h] '#i' “#j” -#k", ..."abcdefghijk"],
    ["。#茶 ！＃茶 、#茶 「#茶」 　#茶", "茶", "茶", "茶", "茶", "茶"],
    ["##tea @#milk", "tea", "milk"],
  ],
  "an emoji may stand before a tag, with or without its selector, skin tone or joiner": [
    ["✌#a ✌\ufe0e#b ✌\ufe0f#c 👍🏽#d 👩\u200d🚀#e 🇪🇪#f", ..."abcdef"],
  ],
  "punctuation ends a tag": [
    ["#a: #b; #c, #d. #e! #f? #g) #h's #i-j #k~ #l/m #n@o", ..."abcdefghikln"],
    ["#茶。 #茶」", "茶", "茶"],
    ["#tea/#milk", "tea", "milk"],
  ],
  "no tag directly before another sign or before ://": [
    ["#tea#milk #tea＃", ""],
    ["#http://example.com", ""],
  ],
  "a tag has 100 characters at most; of a longer one not even the beginning counts": [
    [`#${"é".repeat(limits.tagChars)}`, "é".repeat(limits.tagChars)],
    [`#${"é".repeat(limits.tagChars + 1)} #tea`, "tea"],
    [`#${"\u{20000}".repeat(limits.tagChars)}`, "\u{20000}".repeat(limits.tagChars)],
  ],
  "no tag in a URL": [
    ["http://example.com/#tea example.com/#milk http://example.com?#x http://example.com/a#!/,#b", ""],
    ["http://example.com:80/x(#y) http://u:p@example.com/#z", ""],
  ],
  "a tag after a URL, or after what merely has a slash, counts": [
    ["http://example.com/ #tea (example.com/x)#milk and/#or", "tea", "milk", "or"],
    ["http://example.com/x。#茶", "茶"],
  ],
};

for (const [rules, find, what] of [
  [mentionRules, findMentions, "mention"],
  [tagRules, findTags, "tag"],
] as const) {
  for (const [rule, cases] of Object.entries(rules)) {
    void test(`${what}: ${rule}`, async (t) => {
      for (const [text, ...names] of cases) {
        const expected = names.filter((name) => name !== "");
        const found = find(text).map((span) => span.name);
        t.same(found, expected, JSON.stringify(text.slice(0, 120)));
      }
    });
  }
}

void test("a span runs from the sign to the name's end in UTF-16 units", async (t) => {
  t.same(findMentions("🐋 ＠Ada, @bob-"), [
    { name: "Ada", start: 3, end: 7 },
    { name: "bob", start: 9, end: 13 },
  ]);
  t.same(findTags("🐋 #\u{20000}a #cafe\u0301"), [
    { name: "\u{20000}a", start: 3, end: 7 },
    { name: "café", start: 8, end: 14 },
  ]);
});

void test("a reply opens with its mention", async (t) => {
  t.equal(findMentions("\u3000@ada thanks")[0]?.start, 1);
  t.equal(findMentions("so @ada thanks")[0]?.start, 3);
});

void test("names that fold alike are given once, in order of first appearance, as first written", async (t) => {
  t.same(extractMentions("@bob @Ada @BOB @ada @cy"), ["bob", "Ada", "cy"]);
  t.same(extractTags("#Straße #tea #STRASSE #ΣΑΣ #σας #Tea"), ["Straße", "tea", "ΣΑΣ"]);
  t.same(extractTags("#İn #ın #in #IN"), ["İn", "ın", "in"]);
});

void test("those in excess of the limit are left out", async (t) => {
  const names = Array.from({ length: 60 }, (_, i) => `n${i}`);
  t.same(extractMentions(names.map((n) => `@${n}`).join(" ")), names.slice(0, limits.mentions));
  t.same(extractTags(names.map((n) => `#${n}`).join(" ")), names.slice(0, limits.tags));
  const repeated = `${"@same ".repeat(100)}@other`;
  t.same(extractMentions(repeated), ["same", "other"]);
  t.equal(findMentions(repeated).length, 101);
});

const pieces = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("@ada", "#tea", "＠bob", "＃茶", "@", "#", "@a.b", "#é") },
  {
    weight: 2,
    arbitrary: fc.constantFrom(" ", "/", ".", "a", "RT", "http://", "example.com", "x.yz/", "(", ")"),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      ...". - _ 7 B : ? & ! [ ] , ' + ~ % * $ é ß ж の ｂ 。 ・ ʻ ٣ ✌ 👩 \u{20000} \u{104a1} rt: :// :80 u:p@ co.uk".split(
        " ",
      ),
      "\n",
      "\u3000",
      "\u0301",
      "\ufe0e",
      "\ufe0f",
      "\u20e3",
      "\u200d",
      "\ud800",
      "\udc00",
    ),
  },
);
const texts = fc.array(pieces, { maxLength: 16, size: "max" }).map((parts) => parts.join(""));

/** Texts of up to 16 KiB that make a careless pattern or scan start over and over again. */
const nasty = fc
  .record({ head: texts, unit: fc.array(pieces, { minLength: 1, maxLength: 4 }), tail: texts })
  .map(({ head, unit, tail }) => {
    const one = unit.join("");
    return head + one.repeat(Math.floor(limits.textBytes / 3 / one.length)) + tail;
  });

void test("any text yields what the naive reference finds", async () => {
  fc.assert(
    fc.property(texts, (text) => agrees(text)),
    { numRuns: 5_000 },
  );
});

void test("a long text made to be slow yields what the naive reference finds", async () => {
  fc.assert(
    fc.property(nasty, (text) => agrees(text)),
    { numRuns: 40 },
  );
});

function agrees(text: string): boolean {
  return isSame(findMentions(text), referenceMentions(text)) && isSame(findTags(text), referenceTags(text));
}

function isSame(found: TextSpan[], expected: [start: number, end: number][]): boolean {
  return JSON.stringify(found.map(({ start, end }) => [start, end])) === JSON.stringify(expected);
}

void test("whatever is extracted is a valid name, distinct and within the limits", async () => {
  fc.assert(
    fc.property(texts, (text) => {
      const mentions = extractMentions(text);
      const tags = extractTags(text);
      return (
        mentions.every((name) => checkHandle(name) === name) &&
        tags.every((name) => checkTag(name) === name) &&
        new Set(mentions.map(fold)).size === mentions.length &&
        new Set(tags.map(fold)).size === tags.length
      );
    }),
    { numRuns: 2_000 },
  );
});
