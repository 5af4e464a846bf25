/* The rules of ARCHITECTURE.md about who may import what. */

import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import tap from "tap";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

interface Import {
  file: string;
  /** A path from the root, or a package's name. */
  target: string;
}

const imports: Import[] = ["protocol", "broker", "clients", "bench"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => importsOf(file)),
);

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8").replace(/^\s*(\/?\*|\/\/).*$/gm, "");
  const specifiers = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g);
  return [...specifiers].map(([, specifier]) => ({
    file,
    target: specifier!.startsWith(".")
      ? relative(root, resolve(root, dirname(file), specifier!))
      : specifier!,
  }));
}

function importersOf(name: string): string[] {
  return [
    ...new Set(
      imports
        .filter(({ target }) => target === name || target.startsWith(`${name}/`))
        .map(({ file }) => file),
    ),
  ].sort();
}

await tap.test("there are imports to judge", async (t) => {
  t.ok(imports.length > 200, `${imports.length} imports`);
  t.ok(imports.some(({ target }) => target === "broker/state/index.ts"));
});

await tap.test("imports within the broker point one way", async (t) => {
  const layers = [
    "protocol",
    "broker/state",
    "broker/log",
    "broker/streams",
    "broker/sessions",
    "broker/transports",
  ];
  const layerOf = (path: string): number => layers.findIndex((layer) => path.startsWith(`${layer}/`));
  for (const { file, target } of imports) {
    const from = layerOf(file);
    const to = layerOf(target);
    if (from < 0) continue;
    if (to >= 0) t.ok(to <= from, `${file} may import ${target}`);
    else if (target.startsWith("broker/"))
      t.match(target, /^broker\/(logger|text-file)\.ts$/, `${file} may import ${target}`);
  }
});

await tap.test("the protocol imports nothing of the project, and nothing of Node.js", async (t) => {
  for (const { file, target } of imports) {
    if (file.startsWith("protocol/"))
      t.match(target, /^(protocol\/|typebox|msgpackr)/, `${file} may import ${target}`);
  }
});

await tap.test("broker and clients meet in main.ts alone", async (t) => {
  for (const { file, target } of imports) {
    if (file.startsWith("clients/")) t.notMatch(target, /^broker\//, `${file} does not import ${target}`);
    if (file.startsWith("broker/") && file !== "broker/main.ts")
      t.notMatch(target, /^clients\//, `${file} does not import ${target}`);
  }
});

await tap.test("what all clients share knows neither Node.js nor a transport", async (t) => {
  for (const { file, target } of imports) {
    if (file.startsWith("clients/core/"))
      t.match(target, /^(protocol|clients\/core)\//, `${file} may import ${target}`);
    if (file.startsWith("clients/browser/"))
      t.match(target, /^(protocol|clients\/(core|browser))\//, `${file} may import ${target}`);
  }
});

await tap.test("lmdb, koffi, ws, msgpackr and nats stay where they belong", async (t) => {
  for (const file of importersOf("lmdb")) t.match(file, /^broker\/state\//, `${file} may import lmdb`);
  for (const file of importersOf("koffi"))
    t.equal(file, "broker/state/system-calls.ts", `${file} may import koffi`);
  for (const file of importersOf("ws"))
    t.match(file, /^(broker\/transports\/websocket\.ts|clients\/node\/|bench\/)/, `${file} may import ws`);
  for (const file of importersOf("msgpackr"))
    t.match(
      file,
      /^(protocol\/codec\.ts|broker\/(state\/|workers\/channel\.ts|cluster\/(batch|gossip-messages)\.ts))/,
      `${file} may import msgpackr`,
    );
  for (const file of importersOf("nats")) t.match(file, /^broker\/cluster\//, `${file} may import nats`);
  t.ok(importersOf("lmdb").length > 0 && importersOf("ws").length > 0 && importersOf("msgpackr").length > 0);
});

await tap.test("nothing that a client sent is called: every Packr leaves `toJSON` alone", async (t) => {
  let count = 0;
  for (const file of importersOf("msgpackr")) {
    const text = readFileSync(join(root, file), "utf8");
    const imported = /import \{([^}]*)\} from "msgpackr"/.exec(text)?.[1] ?? "";
    t.notMatch(imported, /\b(pack|encode|addExtension)\b/, `${file} packs by a Packr of its own`);
    for (const [, options] of text.matchAll(/new Packr\(([^)]*)\)/g)) {
      count++;
      t.match(options, /useToJSON: false/, file);
    }
  }
  t.ok(count >= 6, `${count} are found`);
});
