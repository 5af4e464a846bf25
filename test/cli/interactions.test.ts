/* The file a replay reads. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { test } from "tap";

import {
  type Interaction,
  parseInteraction,
  readInteractions,
} from "../../clients/cli/replay/interactions.ts";

async function all(path: string, options = {}): Promise<Interaction[]> {
  const found: Interaction[] = [];
  for await (const interaction of readInteractions(path, options)) found.push(interaction);
  return found;
}

const lines = ["1 2 1341100972 RT", "2 3 1341100973 MT", "", "3 1 1341100974 RE"];
const parsed = [
  { actor: "1", target: "2", atSeconds: 1341100972, kind: "RT" },
  { actor: "2", target: "3", atSeconds: 1341100973, kind: "MT" },
  { actor: "3", target: "1", atSeconds: 1341100974, kind: "RE" },
];

void test("a plain and a gzipped file read the same, with any line ends, and empty lines are skipped", async (t) => {
  const folder = t.testdir();
  const files: [string, string | Buffer][] = [
    ["plain.txt", `${lines.join("\n")}\n`],
    ["no-last-end.txt", lines.join("\n")],
    ["windows.txt", lines.join("\r\n")],
    ["zipped.txt.gz", gzipSync(lines.join("\n"))],
  ];
  for (const [name, content] of files) {
    writeFileSync(join(folder, name), content);
    t.same(await all(join(folder, name)), parsed, name);
  }
});

void test("what editors and data sets put into a file besides its lines is passed over", async (t) => {
  const folder = t.testdir();
  const text = `\ufeff# a comment\n  # another\n% and KONECT's kind\n\n${lines.join("\n \n")}\n# the end`;
  const files: [string, string | Buffer][] = [
    ["bom.txt", text],
    ["comment-first.txt", text.slice(1)],
    ["windows.txt", text.replaceAll("\n", "\r\n")],
    ["old-mac.txt", text.replaceAll("\n", "\r")],
    ["utf-16le.txt", Buffer.from(text, "utf16le")],
    ["utf-16be.txt", Buffer.from(text, "utf16le").swap16()],
    ["UPPER.TXT.GZ", gzipSync(text)],
    ["Mixed.Gz", gzipSync(text.replaceAll("\n", "\r\n"))],
    ["zipped-without-saying.txt", gzipSync(text)],
    ["two-members.txt.gz", Buffer.concat([gzipSync(text.slice(0, 60)), gzipSync(text.slice(60))])],
    ["plain-in-spite-of-its-name.gz", text],
  ];
  for (const [name, content] of files) {
    writeFileSync(join(folder, name), content);
    t.same(await all(join(folder, name)), parsed, name);
  }
});

void test("files without a line are empty, whatever their name", async (t) => {
  const folder = t.testdir({
    "empty.txt": "",
    "empty.txt.gz": "",
    "bom.txt": "\ufeff",
    "comments.txt": "# a\n#b\r\n",
  });
  for (const name of ["empty.txt", "empty.txt.gz", "bom.txt", "comments.txt"]) {
    t.same(await all(join(folder, name)), [], name);
  }
});

void test("a fault names its line as an editor counts it, in spite of comments and blank lines", async (t) => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const folder = t.testdir({ "faulty.txt": ["\ufeff# one", "", "1 2 3 RT", "", "wrong"].join(end) });
    await t.rejects(all(join(folder, "faulty.txt")), { code: "bad_file", message: /^line 5: "wrong"/ });
  }
});

void test("a line end that falls between two chunks is one", async (t) => {
  const line = "a b 1 RT";
  // Chunks are 64 KiB: the carriage return is the last byte of the first.
  const text = `#${"x".repeat(65_536 - 2)}\r\n${line}\r\nwrong`;
  const folder = t.testdir({ "chunks.txt": text, "wide.txt": `#${"ü".repeat(40_000)}\n${line}` });
  await t.rejects(all(join(folder, "chunks.txt")), { message: /^line 3: / });
  t.equal((await all(join(folder, "wide.txt"))).length, 1);
});

void test("a line without an end does not fill the memory", async (t) => {
  const folder = t.testdir({ "endless.txt": "a".repeat(3_000_000) });
  await t.rejects(all(join(folder, "endless.txt")), { code: "bad_file", message: /line 1: .* 1048576 / });
});

void test("a file larger than one chunk loses no line between chunks", async (t) => {
  const count = 20_000;
  const folder = t.testdir({
    "many.txt": Array.from({ length: count }, (_, i) => `user${i} target${i} ${i} RT`).join("\n"),
  });
  const found = await all(join(folder, "many.txt"));
  t.equal(found.length, count);
  t.ok(
    found.every(
      ({ actor, target, atSeconds }, i) => actor === `user${i}` && target === `target${i}` && atSeconds === i,
    ),
  );
});

void test("the limit counts interactions, and the prefix goes before both handles", async (t) => {
  const folder = t.testdir({ "some.txt": lines.join("\n") });
  const found = await all(join(folder, "some.txt"), { limit: 2, prefix: "b_" });
  t.same(
    found.map(({ actor, target }) => [actor, target]),
    [
      ["b_1", "b_2"],
      ["b_2", "b_3"],
    ],
  );
});

void test("a line of another shape is refused with its number", async (t) => {
  for (const line of ["1 2 3", "1 2 3 XX", "1 2 x RT", "1 2 -3 RT", "1 2 3 RT more", "a/b 2 3 RT"]) {
    t.throws(() => parseInteraction(line, 17), { code: "bad_file", message: /^line 17: / }, line);
  }
  const folder = t.testdir({ "bad.txt": "1 2 3 RT\n\nnonsense\n" });
  await t.rejects(all(join(folder, "bad.txt")), { code: "bad_file", message: /^line 3: "nonsense"/ });
});

void test("a missing file and a broken gzip are refused with the file's name", async (t) => {
  const folder = t.testdir({ "broken.txt.gz": gzipSync(lines.join("\n")).subarray(0, 30) });
  await t.rejects(all(join(folder, "none.txt")), { code: "bad_file", message: /none\.txt/ });
  await t.rejects(all(join(folder, "none.txt.gz")), { code: "bad_file", message: /none\.txt\.gz/ });
  await t.rejects(all(join(folder, "broken.txt.gz")), { code: "bad_file", message: /broken\.txt\.gz/ });
});
