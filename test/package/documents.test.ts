/* The documents, in the checkout and as they are packed: each relative link leads to a file or heading that is there. */

import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import tap from "tap";

import { root, run } from "./packed.ts";

const tracked = (await run("git", ["ls-files", "-co", "--exclude-standard"], { cwd: root })).stdout
  .split("\n")
  .filter((file) => file !== "" && existsSync(join(root, file)));
const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--dry-run"], { cwd: root });
const [{ files }] = Object.values(JSON.parse(stdout) as object) as [{ files: { path: string }[] }];
const packed = files.map(({ path }) => path);

for (const [where, paths] of [
  ["in the checkout", tracked],
  ["in the package", packed],
] as const) {
  await tap.test(`links ${where} lead somewhere`, async (t) => {
    const there = new Set(paths);
    for (const path of paths) for (let up = dirname(path); up !== "."; up = dirname(up)) there.add(up);
    const documents = paths.filter((path) => path.endsWith(".md"));
    t.ok(documents.includes("README.md") && documents.length > 6, documents.join());
    let links = 0;
    for (const document of documents) {
      const text = readFileSync(join(root, document), "utf8");
      for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(link!)) continue;
        links++;
        const [file = "", heading] = link!.split("#");
        const target = file === "" ? document : normalize(join(dirname(document), file));
        t.ok(there.has(target.replace(/\/$/, "")), `${document} links to ${link}`);
        if (heading === undefined || !existsSync(join(root, target))) continue;
        if (statSync(join(root, target)).isDirectory()) continue;
        t.ok(
          headingsOf(readFileSync(join(root, target), "utf8")).has(heading),
          `${document} links to ${link}`,
        );
      }
    }
    t.ok(links > 20, `${links} links`);
  });
}

await tap.test("what the manifest names is packed", async (t) => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    bin: Record<string, string>;
    exports: unknown;
  };
  const named = [...JSON.stringify([manifest.bin, manifest.exports]).matchAll(/"(?:\.\/)?(dist\/[^"]+)"/g)];
  t.ok(named.length > 12);
  for (const [, file] of named) t.ok(packed.includes(file!), `${file} is packed`);
});

/** The anchors of a document's headings. */
function headingsOf(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
  return new Set(headings);
}
