/* The SDK and the protocol for who still says require(), as Jest does as it comes: one file each, with its types.
 *
 * Runs after the ES modules are built. The client for Node.js leaves ws and msgpackr outside. The others take in
 * what they need, since typebox, and msgpackr for browsers, are ES modules alone. The types of a CommonJS file are those of the ES module, name by name, so that both are the same types. */

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const root = new URL("../", import.meta.url);

for (const { entry, out, platform, external } of [
  {
    entry: "clients/node/index.ts",
    out: "dist/clients/node/index",
    platform: "node",
    external: ["ws", "msgpackr"],
  },
  {
    entry: "clients/browser/index.ts",
    out: "dist/clients/browser/whalesong",
    platform: "browser",
    external: [],
  },
  { entry: "protocol/index.ts", out: "dist/protocol/index", platform: "browser", external: [] },
]) {
  await build({
    absWorkingDir: fileURLToPath(root),
    entryPoints: [entry],
    outfile: `${out}.cjs`,
    bundle: true,
    format: "cjs",
    platform,
    external,
    target: platform === "node" ? "node20" : "es2022",
    sourcemap: true,
    logLevel: "warning",
  });
  const types = `./${entry.split("/").at(-1).replace(/ts$/, "js")}`;
  const module = await import(new URL(`${out}.js`, root).href);
  const folder = out.slice(0, out.lastIndexOf("/"));
  await writeFile(new URL(`${folder}/index.d.cts`, root), declarations(types, module));
}

/** The exports of the ES module at `path`, declared for CommonJS. */
function declarations(path, module) {
  const from = `"${path}", { with: { "resolution-mode": "import" } }`;
  const lines = [
    `type Module = typeof import(${from});`,
    `export type * from "${path}" with { "resolution-mode": "import" };`,
  ];
  for (const [name, value] of Object.entries(module)) {
    lines.push(`export declare const ${name}: Module["${name}"];`);
    // What is declared here hides the type of the same name above.
    if (isClass(value)) lines.push(`export type ${name} = InstanceType<Module["${name}"]>;`);
  }
  return `${lines.join("\n")}\n`;
}

function isClass(value) {
  return typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));
}
