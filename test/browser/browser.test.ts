/* The SDK in a real browser: the same bundle, the native WebSocket, the page from the cookbook. */

import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import { type Browser, chromium, type Page } from "playwright-core";
import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import { clientLimits, connect } from "../../clients/node/index.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const executable = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const missing = `no Chromium at ${executable}: install it ("apt-get install chromium" on Debian), or name another by CHROMIUM`;

if (existsSync(executable)) await runAll();
else if (process.env["CI"] === "true") tap.fail(missing);
else tap.pass(`skipped: ${missing}`, { skip: missing });

async function runAll(): Promise<void> {
  const bundle = await bundleSdk();
  const browser = await chromium.launch({
    executablePath: executable,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  tap.teardown(() => browser.close());

  for (const codec of ["msgpack", "json"]) {
    await tap.test(`${codec}: a page follows, posts, reads, and hears what others post`, async (t) => {
      const { url } = await startBroker(t);
      const page = await openPage(t, { browser, url, bundle, html: conversation(codec) });
      const bob = await connect(url, { user: "bob" });
      t.teardown(() => bob.close());
      await page.waitForFunction("globalThis.listening === true");
      const { id } = await bob.post("hello from node, ünïcode 🐋", { data: { deep: [1, { two: 2.5 }] } });
      await page.waitForFunction("globalThis.results !== undefined");
      const results = await page.evaluate<Results>("globalThis.results");
      t.equal(results.user, "alice");
      t.match(results.event, {
        event: "post",
        post: { id, author: "bob", text: "hello from node, ünïcode 🐋", data: { deep: [1, { two: 2.5 }] } },
      });
      t.equal(results.refused, "WhalesongError");
      t.equal(results.closed, "ConnectionError");
      t.match(await bob.get(results.posted.id), { author: "alice", text: "hello from a page" });
    });
  }

  await tap.test("a page comes back to a broker that restarted, and misses nothing", async (t) => {
    const { url, restart } = await startBroker(t);
    const page = await openPage(t, { browser, url, bundle, html: listener });
    await page.waitForFunction("globalThis.seen !== undefined");
    const bob = await connect(url, { user: "bob", reconnect: { initialMs: 1, maxMs: 50 } });
    t.teardown(() => bob.close());
    await bob.post("before");
    await restart();
    await bob.post("after");
    await page.waitForFunction("globalThis.seen.length >= 2");
    t.same(await page.evaluate("globalThis.seen"), ["before", "after"]);
  });

  await tap.test("a page's loop slower than its stream still gets every event once, in order", async (t) => {
    const { url } = await startBroker(t);
    const bob = await connect(url, { user: "bob" });
    t.teardown(() => bob.close());
    const count = 2 * clientLimits.bufferedEvents;
    await Promise.all(Array.from({ length: count }, (_, i) => bob.post(`${i}`)));
    const page = await openPage(t, { browser, url, bundle, html: slowReader(count) });
    await page.waitForFunction("globalThis.wrong !== undefined");
    t.equal(await page.evaluate("globalThis.wrong"), 0);
  });

  await tap.test("browser.html: the ten lines, with the bundle that the broker serves", async (t) => {
    const { url } = await startBroker(t);
    const html = await readFile(join(root, "clients/examples/browser.html"), "utf8");
    const page = await openPage(t, { browser, url, html });
    await page.fill("#text", "sung in a browser");
    await page.press("#text", "Enter");
    await page.waitForSelector("li:has-text('browser: sung in a browser')");
    t.equal(await page.locator("li").count(), 1);
  });
}

interface Results {
  user: string;
  event: object;
  posted: { id: string };
  refused: string;
  closed: string;
}

function conversation(codec: string): string {
  return `<!doctype html><script type="module">
    import { connect } from "/sdk.js";
    const me = await connect(location.origin, { user: "alice", device: "tab", codec: "${codec}" });
    await me.follow("bob");
    const home = me.stream("home");
    await home.opened;
    globalThis.listening = true;
    const results = { user: me.user };
    for await (const event of home) {
      if (event.event !== "post") continue;
      results.event = event;
      break;
    }
    results.posted = await me.post("hello from a page");
    results.refused = await me.get("nothing").catch((error) => error.name);
    await me.close();
    results.closed = await me.ping().catch((error) => error.name);
    globalThis.results = results;
  </script>`;
}

const listener = `<!doctype html><script type="module">
  import { connect } from "/sdk.js";
  const me = await connect(location.origin, { user: "alice", reconnect: { initialMs: 1, maxMs: 50 } });
  const stream = me.stream("user:bob", { from: "live" });
  await stream.opened;
  globalThis.seen = [];
  for await (const event of stream) if (event.event === "post") seen.push(event.post.text);
</script>`;

function slowReader(count: number): string {
  return `<!doctype html><script type="module">
    import { connect } from "/sdk.js";
    const me = await connect(location.origin, { user: "alice" });
    let next = 0;
    let wrong = 0;
    for await (const event of me.stream("user:bob", { from: "earliest" })) {
      if (event.event !== "post") continue;
      if (event.post.text !== String(next++)) wrong++;
      if (next % 500 === 0) await me.ping();
      if (next === ${count}) break;
    }
    globalThis.wrong = wrong;
  </script>`;
}

/** A page of the broker's own origin that holds `html`; errors in it fail the test. */
async function openPage(
  t: Test,
  options: { browser: Browser; url: string; bundle?: string; html: string },
): Promise<Page> {
  const { browser, url, bundle = "", html } = options;
  const context = await browser.newContext();
  t.teardown(() => context.close());
  const page = await context.newPage();
  page.on("pageerror", (error) => t.fail(`in the page: ${error.message}`));
  const origin = url.replace(/^ws/, "http");
  await page.route(`${origin}/test.html`, (route) => route.fulfill({ contentType: "text/html", body: html }));
  await page.route(`${origin}/sdk.js`, (route) =>
    route.fulfill({ contentType: "text/javascript", body: bundle }),
  );
  await page.goto(`${origin}/test.html`);
  return page;
}

async function startBroker(t: Test): Promise<{ url: string; restart: () => Promise<void> }> {
  const data = await mkdtemp(join(tmpdir(), "whalesong-browser-"));
  let broker = await Broker.start({ port: 0, data });
  const { url } = broker;
  t.teardown(async () => {
    await broker.stop();
    await rm(data, { recursive: true, force: true });
  });
  return {
    url,
    restart: async () => {
      await broker.stop();
      broker = await Broker.start({ port: Number(new URL(url).port), data });
    },
  };
}

/** Builds the bundle where the broker serves it from, as `npm run build:browser` does. */
async function bundleSdk(): Promise<string> {
  const outfile = join(root, "dist/clients/browser/whalesong.js");
  await build({
    entryPoints: [join(root, "clients/browser/index.ts")],
    bundle: true,
    format: "esm",
    target: "es2022",
    sourcemap: true,
    outfile,
    logLevel: "warning",
  });
  const bundle = await readFile(outfile, "utf8");
  if (/^\s*import[\s{*]/m.test(bundle)) throw new Error(`${outfile} is not self-contained: it imports`);
  return bundle;
}
