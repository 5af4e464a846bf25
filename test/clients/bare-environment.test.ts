/* The SDK where globals are missing that current browsers and Node.js have: old WebViews, React Native, pages on plain http. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createContext, runInContext } from "node:vm";

import { build } from "esbuild";
import tap, { type Test } from "tap";
import { WebSocket } from "ws";

import { Broker } from "../../broker/broker.ts";
import { connect } from "../../clients/node/index.ts";
import { workers } from "../workers/count.ts";

const entry = fileURLToPath(new URL("../../clients/browser/index.ts", import.meta.url));

/** The browser's build, as a script that leaves `whalesong` behind. */
const { outputFiles } = await build({
  entryPoints: [entry],
  bundle: true,
  format: "iife",
  globalName: "whalesong",
  target: "es2022",
  write: false,
});
const bundle = outputFiles[0]!.text;

/** What the browser's build cannot do without. */
const least = { WebSocket, setTimeout, clearTimeout };

for (const [what, globals] of [
  ["nothing but WebSocket and timers", {}],
  ["a crypto without getRandomValues", { crypto: {} }],
  ["a crypto with getRandomValues alone", { crypto: { getRandomValues: fill } }],
  [
    "a process, as in Electron and with polyfills",
    { process: { env: {}, versions: { electron: "40.0.0" } } },
  ],
] as const) {
  await tap.test(`${what}: the browser's build connects, posts once, reads`, async (t) => {
    const url = await start(t);
    const context = createContext({ ...least, ...globals });
    runInContext(bundle, context);
    const run = `(async () => {
      const heard = [];
      const me = await whalesong.connect(${JSON.stringify(url)}, { user: "alice" });
      const stream = me.stream("user:alice", { from: "live" });
      await stream.opened;
      await Promise.all([me.post("ä 🐋", { data: { n: [1, 2.5] } }), me.post("two")]);
      for await (const event of stream) {
        if (event.event === "post") heard.push(event.post.text);
        if (heard.length === 2) break;
      }
      await me.close();
      return heard.join();
    })()`;
    t.equal(await (runInContext(run, context) as Promise<string>), "ä 🐋,two");
  });
}

await tap.test("two clients without a source of random bytes have keys of their own", async (t) => {
  const url = await start(t);
  const context = createContext({ ...least });
  runInContext(bundle, context);
  const run = `(async () => {
    const [a, b] = await Promise.all([1, 2].map(() => whalesong.connect(${JSON.stringify(url)}, { user: "alice" })));
    const ids = (await Promise.all([a.post("same"), b.post("same")])).map(({ id }) => id);
    await a.close();
    await b.close();
    return ids.join();
  })()`;
  const [one, two] = (await (runInContext(run, context) as Promise<string>)).split(",");
  t.not(one, two);
});

await tap.test("a listener that throws is surfaced, and the client goes on", async (t) => {
  const url = await start(t);
  const surfaced: unknown[] = [];
  // Timers are where an exception has nowhere to go but to the platform.
  const timer = (run: () => void, ms?: number): unknown =>
    setTimeout(() => {
      try {
        run();
      } catch (error) {
        surfaced.push(error);
      }
    }, ms);
  const context = createContext({ ...least, setTimeout: timer });
  runInContext(bundle, context);
  const run = `(async () => {
    const me = await whalesong.connect(${JSON.stringify(url)}, { user: "alice" });
    me.on("close", () => { throw new Error("mine"); });
    await me.close();
    await new Promise((resolve) => setTimeout(resolve, 1));
  })()`;
  await (runInContext(run, context) as Promise<void>);
  t.match(surfaced, [{ message: "mine" }]);
});

await tap.test("Node.js without a global crypto", async (t) => {
  const url = await start(t);
  const before = Object.getOwnPropertyDescriptor(globalThis, "crypto")!;
  Object.defineProperty(globalThis, "crypto", { value: undefined, configurable: true, writable: true });
  t.teardown(() => Object.defineProperty(globalThis, "crypto", before));
  const me = await connect(url, { user: "alice" });
  t.ok((await me.post("hi")).id);
  await me.close();
});

function fill(bytes: Uint8Array): Uint8Array {
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(Math.random() * 256);
  return bytes;
}

async function start(t: Test): Promise<string> {
  const data = await mkdtemp(join(tmpdir(), "whalesong-bare-"));
  const broker = await Broker.start({ port: 0, data, logLevel: "error", drainMs: 20, workers });
  t.teardown(async () => {
    await broker.stop();
    await rm(data, { recursive: true, force: true });
  });
  return broker.url;
}
