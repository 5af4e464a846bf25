/* The SDK in a real browser: the same bundle, the native WebSocket, the page from the cookbook. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import type { Browser, Page } from "playwright-core";
import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import type { BrokerOptions } from "../../broker/options.ts";
import { connect } from "../../clients/node/index.ts";
import { freePort } from "../free-port.ts";
import { hasChromium, launchChromium } from "./chromium.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A page from here is no secure context: it has neither crypto.randomUUID nor crypto.subtle. */
const insecureHost = "insecure.test";

/** What the cookbook's page calls the broker; test pages do too. */
const example = "http://127.0.0.1:5252";

function listener(elsewhere = ""): string {
  return `<!doctype html><script type="module">
  import { connect } from "http://127.0.0.1:5252/client.js";
  const me = await connect("http://127.0.0.1:5252${elsewhere}", { user: "alice", reconnect: { initialMs: 1, maxMs: 50 } });
  const stream = me.stream("user:bob", { from: "live" });
  await stream.opened;
  globalThis.seen = [];
  for await (const event of stream) if (event.event === "post") seen.push(event.post.text);
</script>`;
}

if (hasChromium()) await runAll();

async function runAll(): Promise<void> {
  await bundleSdk();
  const browser = await launchChromium([`--host-resolver-rules=MAP ${insecureHost} 127.0.0.1`]);
  tap.teardown(() => browser.close());

  for (const [codec, compress] of [
    ["msgpack", false],
    ["json", false],
    ["msgpack", true],
    ["json", true],
  ] as const) {
    const how = compress ? `${codec}, compressed` : codec;
    await tap.test(`${how}: a page follows, posts, reads, and hears what others post`, async (t) => {
      const { url, open } = await start(t, { compress });
      const page = await open(browser, conversation(codec));
      const bob = await connect(url, { user: "bob" });
      t.teardown(() => bob.close());
      await page.waitForFunction("globalThis.listening === true");
      const text = `hello from node, ünïcode 🐋${" and more of it".repeat(20)}`;
      const { id } = await bob.post(text, { data: { deep: [1, { two: 2.5 }] } });
      await page.waitForFunction("globalThis.results !== undefined");
      const results = await page.evaluate<Results>("globalThis.results");
      t.equal(results.user, "alice");
      t.match(results.event, {
        event: "post",
        post: { id, author: "bob", text, data: { deep: [1, { two: 2.5 }] } },
      });
      t.equal(results.refused, "WhalesongError");
      t.equal(results.closed, "ConnectionError");
      t.match(await bob.get(results.posted.id), { author: "alice", text: "hello from a page" });
      const metrics = await (await fetch(`${url}/metrics`)).text();
      const [, count] = /^whalesong_compressed_messages_total (\d+)$/m.exec(metrics)!;
      t.equal(Number(count) > 0, compress, `${count} messages compressed`);
    });
  }

  await tap.test("a page on plain http, which is no secure context, posts and reads", async (t) => {
    const { open } = await start(t, {}, insecureHost);
    const page = await open(
      browser,
      `<!doctype html><script type="module">
        import { connect } from "http://127.0.0.1:5252/client.js";
        const me = await connect("http://127.0.0.1:5252", { user: "alice" });
        const posted = await Promise.all([me.post("one"), me.post("two")]);
        globalThis.results = [isSecureContext, typeof crypto.randomUUID, typeof crypto.subtle, posted.length];
      </script>`,
    );
    await page.waitForFunction("globalThis.results !== undefined");
    t.same(await page.evaluate("globalThis.results"), [false, "undefined", "undefined", 2]);
  });

  await tap.test("a module worker posts and reads", async (t) => {
    const { open } = await start(t);
    const page = await open(
      browser,
      `<!doctype html><script type="module">
        const source = \`
          import { connect } from "http://127.0.0.1:5252/client.js";
          const me = await connect("http://127.0.0.1:5252", { user: "alice" });
          const stream = me.stream("user:alice", { from: "live" });
          await stream.opened;
          await me.post("from a worker");
          for await (const event of stream) {
            if (event.event !== "post") continue;
            postMessage(event.post.text);
            break;
          }\`;
        const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
        worker.onmessage = ({ data }) => (globalThis.results = data);
      </script>`,
    );
    await page.waitForFunction("globalThis.results !== undefined");
    t.equal(await page.evaluate("globalThis.results"), "from a worker");
  });

  await tap.test("a page comes back to a broker that restarted, and misses nothing", async (t) => {
    const { url, restart, open } = await start(t);
    const page = await open(browser, listener());
    await page.waitForFunction("globalThis.seen !== undefined");
    const bob = await connect(url, { user: "bob", reconnect: { initialMs: 1, maxMs: 50 } });
    t.teardown(() => bob.close());
    await bob.post("before");
    await restart();
    await bob.post("after");
    await page.waitForFunction("globalThis.seen.length >= 2");
    t.same(await page.evaluate("globalThis.seen"), ["before", "after"]);
  });

  await tap.test("a page that knows two nodes goes on at the other, and misses nothing", async (t) => {
    const { url, restart, open } = await start(t);
    const port = await freePort();
    const other = `http://127.0.0.1:${port}`;
    const page = await open(browser, listener(`,${other}`));
    await page.waitForFunction("globalThis.seen !== undefined");
    const bob = await connect([url, other], { user: "bob", reconnect: { initialMs: 1, maxMs: 50 } });
    t.teardown(() => bob.close());
    await bob.post("before");
    await restart(port);
    await bob.post("after");
    await page.waitForFunction("globalThis.seen.length >= 2");
    t.same(await page.evaluate("globalThis.seen"), ["before", "after"]);
  });

  await tap.test("a page's loop slower than its stream still gets every event once, in order", async (t) => {
    const { url, open } = await start(t);
    const bob = await connect(url, { user: "bob" });
    t.teardown(() => bob.close());
    const count = 10_000; // over twice what a stream buffers
    for (let i = 0; i < count; i += 1_000) {
      await Promise.all(Array.from({ length: 1_000 }, (_, n) => bob.post(`${i + n}`)));
    }
    const page = await open(browser, slowReader(count));
    await page.waitForFunction("globalThis.wrong !== undefined");
    t.equal(await page.evaluate("globalThis.wrong"), 0);
  });

  await tap.test("browser.html: the ten lines, with the bundle that the broker serves", async (t) => {
    const { open } = await start(t);
    const html = await readFile(join(root, "clients/examples/browser.html"), "utf8");
    const page = await open(browser, html);
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
    import { connect } from "http://127.0.0.1:5252/client.js";
    const me = await connect("http://127.0.0.1:5252", { user: "alice", device: "tab", codec: "${codec}" });
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

function slowReader(count: number): string {
  return `<!doctype html><script type="module">
    import { connect } from "http://127.0.0.1:5252/client.js";
    const me = await connect("http://127.0.0.1:5252", { user: "alice" });
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

/** A broker, and a web server of another origin whose pages may use it. */
async function start(t: Test, given: Partial<BrokerOptions> = {}, host = "127.0.0.1"): Promise<World> {
  const data = await mkdtemp(join(tmpdir(), "whalesong-browser-"));
  let html = "";
  const pages = createServer((_request, response) => {
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end(html.replaceAll(example, url));
  });
  await new Promise<void>((resolve) => pages.listen(0, "127.0.0.1", resolve));
  const origin = `http://${host}:${(pages.address() as AddressInfo).port}`;
  const options: Partial<BrokerOptions> = {
    data,
    logLevel: "error",
    drainMs: 20,
    corsOrigins: [origin],
    ...given,
  };
  let broker = await Broker.start({ ...options, port: 0 });
  const { url } = broker;
  t.equal((await fetch(`${url}/client.js`)).status, 200, "the broker serves the bundle");
  t.teardown(async () => {
    await broker.stop();
    pages.closeAllConnections();
    pages.close();
    await rm(data, { recursive: true, force: true });
  });
  return {
    url,
    restart: async (port = Number(new URL(url).port)) => {
      await broker.stop();
      broker = await Broker.start({ ...options, port });
    },
    open: async (browser, content) => {
      html = content;
      const context = await browser.newContext();
      t.teardown(() => context.close());
      const page = await context.newPage();
      page.on("pageerror", (error) => t.fail(`in the page: ${error.message}`));
      await page.goto(origin);
      return page;
    },
  };
}

interface World {
  readonly url: string;
  /** Stops the broker and starts it again, at another port where one is given. */
  restart: (port?: number) => Promise<void>;
  /** Opens a page that holds `html`; errors in it fail the test. */
  open: (browser: Browser, html: string) => Promise<Page>;
}

/** Builds the bundle where the broker serves it from, as `npm run build:browser` does. */
async function bundleSdk(): Promise<void> {
  const outfile = join(root, "dist/clients/browser/whalesong.js");
  const { metafile } = await build({
    entryPoints: [join(root, "clients/browser/index.ts")],
    bundle: true,
    format: "esm",
    target: "es2022",
    sourcemap: true,
    metafile: true,
    outfile,
    logLevel: "warning",
  });
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
  tap.same(imports, [], "the bundle is self-contained");
}
