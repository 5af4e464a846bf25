/* The package in projects of other kinds: Jest as it comes, TypeScript in each way of resolving, bundles for the browser. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import tap, { type Test } from "tap";

import { folderOfTest, pack, project, root, run } from "./packed.ts";

tap.setTimeout(900_000);
const folder = await folderOfTest();
const tarball = await pack(folder);
const cwd = join(folder, "consumer");
await project(cwd, [tarball, "jest@30", "jest-environment-jsdom@30"], { type: "commonjs" });

const typed = `
  import { connect, WhalesongError, type Post, type StreamEvent } from "whalesong/client";
  import { checkRequest, limits, WhalesongError as Refusal, type Op } from "whalesong/protocol";
  export async function read(): Promise<Post[]> {
    const me = await connect("ws://127.0.0.1:5252", { user: "bob", rateLimit: { maxWaitMs: 1 } });
    const posts: Post[] = [];
    for await (const event of me.stream("home")) {
      const known: StreamEvent = event;
      if (event.event === "post") posts.push(event.post);
      // @ts-expect-error a live event has no post
      if (known.event === "live") posts.push(known.post);
    }
    return posts;
  }
  export function codeOf(error: unknown): string | undefined {
    if (error instanceof WhalesongError) return error.code;
    return error instanceof Refusal ? error.details.field : undefined;
  }
  export const op: Op = checkRequest({ id: limits.inFlight, op: "ping" }).op;
  // @ts-expect-error a text is no count
  export const wrong: number = op;`;

for (const [what, file, options] of [
  ["an ES module, node16", "node16.mts", ["--module", "node16"]],
  ["a CommonJS module, node16", "node16.cts", ["--module", "node16"]],
  ["a CommonJS module, nodenext", "nodenext.cts", ["--module", "nodenext"]],
  ["bundler", "bundler.ts", ["--module", "esnext", "--moduleResolution", "bundler"]],
  [
    "bundler for the browser",
    "browser.ts",
    ["--module", "esnext", "--moduleResolution", "bundler", "--customConditions", "browser"],
  ],
  [
    "TypeScript that writes CommonJS",
    "commonjs.ts",
    ["--module", "commonjs", "--moduleResolution", "bundler"],
  ],
] as const) {
  await tap.test(`types: ${what}`, async (t) => {
    await writeFile(join(cwd, file), typed);
    const args = [
      "--noEmit",
      "--strict",
      "--target",
      "es2022",
      "--lib",
      "es2023,dom,esnext.disposable",
      "--skipLibCheck",
    ];
    await t.resolves(
      run(join(root, "node_modules/.bin/tsc"), [...args, "--types", "", ...options, file], { cwd }),
    );
  });
}

const ofClient = `
  const { connect, WhalesongError, ConnectionError } = require("whalesong/client");
  test("the SDK loads and answers", async () => {
    await expect(connect("ftp://nowhere")).rejects.toThrow(WhalesongError);
    await expect(connect("ws://127.0.0.1:1", { user: "a", reconnect: false })).rejects.toBeInstanceOf(ConnectionError);
  });`;

const ofProtocol = `
  const { connect } = require("whalesong/client");
  const { extractMentions, WhalesongError } = require("whalesong/protocol");
  test("the protocol loads, and knows the SDK's errors", async () => {
    await expect(connect("ftp://nowhere")).rejects.toBeInstanceOf(WhalesongError);
    expect(extractMentions("hi @bob")).toEqual(["bob"]);
  });`;

// jsdom has no TextEncoder, which typebox, and so the protocol, needs as it loads. The SDK does not.
for (const [where, specs] of [
  ["node", { "client.test.js": ofClient, "protocol.test.js": ofProtocol }],
  ["jsdom", { "client.test.js": ofClient }],
] as const) {
  await tap.test(`Jest 30 as it comes, in its environment ${where}`, async (t) => {
    const tests = join(cwd, where);
    await mkdir(tests, { recursive: true });
    for (const [name, spec] of Object.entries(specs)) await writeFile(join(tests, name), spec);
    const ran = await run("npx", ["jest", "--env", where, "--rootDir", tests], { cwd });
    t.match(ran.stderr, `Tests:       ${Object.keys(specs).length} passed`);
  });
}

await tap.test("a bundle for the browser has nothing of Node.js in it", async (t) => {
  for (const [name, text] of [
    ["page.mjs", 'import { connect } from "whalesong/client"; globalThis.connect = connect;'],
    ["page.cjs", 'globalThis.connect = require("whalesong/client").connect;'],
  ] as const) {
    await writeFile(join(cwd, name), text);
    for (const conditions of [[], ["react-native"]]) {
      const output = await bundle(t, name, conditions);
      t.match(output, /new WebSocket\(/);
      t.notMatch(output, /require\("(node:|ws|net)/);
    }
  }
});

async function bundle(t: Test, name: string, conditions: string[]): Promise<string> {
  const { metafile, outputFiles } = await build({
    absWorkingDir: cwd,
    entryPoints: [name],
    bundle: true,
    write: false,
    metafile: true,
    platform: "browser",
    format: "esm",
    logLevel: "silent",
    ...(conditions.length > 0 && { conditions }),
  });
  t.same(
    Object.values(metafile.outputs).flatMap(({ imports }) => imports),
    [],
    "it needs nothing else",
  );
  return outputFiles[0]!.text;
}

await tap.test("the examples run from the package", async (t) => {
  const packed = join(cwd, "node_modules/whalesong/clients/examples/resume.ts");
  t.match(await readFile(packed, "utf8"), 'from "whalesong/client"');
  const html = await readFile(join(cwd, "node_modules/whalesong/clients/examples/browser.html"), "utf8");
  t.match(html, "/client.js");
});
