/* The packed package on each Node.js version that is supported, and its SDK on Bun: installed without a warning, and used. */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import tap from "tap";

import { embedded, environment, folderOfTest, pack, project, run, start } from "./packed.ts";
import { nodeMajors, runtime } from "./runtimes.ts";

tap.setTimeout(900_000);

/** One application with both builds of the package: each knows the other's errors. */
const required = `
  const { connect, WhalesongError } = require("whalesong/client");
  const protocol = require("whalesong/protocol");
  (async () => {
    const { Broker } = await import("whalesong");
    const modules = await import("whalesong/protocol");
    const broker = await Broker.start({ port: 0, data: "./required-data", logLevel: "warn" });
    const me = await connect(broker.url, { user: "alice" });
    const error = await me.follow("no spaces").catch((error) => error);
    console.log(
      error.name,
      error instanceof WhalesongError && error instanceof protocol.WhalesongError,
      error instanceof modules.WhalesongError && new modules.WhalesongError("internal", "") instanceof WhalesongError,
      protocol.closeCodes.draining,
    );
    await me.close();
    await broker.stop(0);
  })();`;

const onBun = `
  const [url, codec, stay] = process.argv.slice(2);
  const me = await connect(url, { user: "alice", codec, reconnect: { initialMs: 1, maxMs: 100 } });
  const stream = me.stream(stay ? "user:bob" : "user:alice", { from: "live" });
  await stream.opened;
  if (stay) {
    console.log("listening");
    for await (const event of stream) if (event.event === "post") console.log(event.post.text);
  }
  const posting = Promise.all(Array.from({ length: 5000 }, (_, i) => me.post(String(i))));
  let next = 0;
  for await (const event of stream) {
    if (event.event !== "post") continue;
    if (event.post.text !== String(next)) throw new Error(event.post.text + " is not " + next);
    // A loop that is slow at times makes the client pause its socket.
    if (++next % 1000 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    if (next === 5000) break;
  }
  await posting;
  const refused = await me.follow("no spaces").catch((error) => error.code);
  console.log("5,000 in order; refused " + refused);
  await me.close();`;

const folder = await folderOfTest();
const tarball = await pack(folder);
const npm = await runtime("npm11");

for (const major of nodeMajors) {
  await tap.test(`Node.js ${major}`, async (t) => {
    const node = await runtime(`node${major}`);
    if (node === undefined || npm === undefined) return;
    const cwd = join(folder, `node${major}`);
    const env = { ...environment, PATH: `${dirname(node)}${delimiter}${environment["PATH"]}` };
    const { stderr } = await project(cwd, [tarball], { npm: [node, npm], env });
    t.notMatch(stderr, /EBADENGINE|deprecated|ERESOLVE/, "npm warns of nothing that the package could mend");

    const program = async (name: string, text: string): Promise<string> => {
      await writeFile(join(cwd, name), text);
      const ran = await run(node, [name], { cwd, env });
      t.equal(ran.stderr, "", name);
      return ran.stdout.trim();
    };
    t.match(await program("version.js", "console.log(process.version)"), `v${major}.`);
    t.equal(await program("embedded.js", embedded), "alice hello @bob bob");
    t.equal(await program("required.cjs", required), "WhalesongError true true 4000");

    const command = join(cwd, "node_modules/.bin/whalesong");
    const broker = start(command, ["serve", "--port", "0", "--data", "./data", "--workers", "1"], {
      cwd,
      env,
    });
    t.teardown(() => broker.kill("SIGKILL"));
    const url = await urlOf(broker);
    const tail = start(command, ["tail", "user:alice", "--user", "bob", "--from", "earliest", "--url", url], {
      cwd,
      env,
    });
    t.teardown(() => tail.kill("SIGKILL"));
    await run(command, ["post", `from Node.js ${major}`, "--user", "alice", "--url", url], { cwd, env });
    let heard = false;
    for await (const line of createInterface({ input: tail.stdout })) {
      heard = line.includes(`from Node.js ${major}`);
      if (heard) break;
    }
    t.ok(heard);
    broker.kill("SIGTERM");
    t.same(await once(broker, "exit"), [0, null]);
  });
}

await tap.test("Bun: connects, posts, reads, comes back", async (t) => {
  const bun = await runtime("bun");
  if (bun === undefined) return;
  const cwd = join(folder, "bun");
  await mkdir(cwd);
  await project(cwd, [tarball]);
  const serve = (port: string): ChildProcess => {
    const command = join(cwd, "node_modules/.bin/whalesong");
    const child = start(command, ["serve", "--port", port, "--data", "./data", "--workers", "0"], {
      cwd,
      env: environment,
    });
    t.teardown(() => child.kill("SIGKILL"));
    return child;
  };
  const broker = serve("0");
  const url = await urlOf(broker);
  const body = `(async () => {${onBun}})();`;
  await writeFile(join(cwd, "client.js"), `import { connect } from "whalesong/client";\n${body}`);
  await writeFile(join(cwd, "client.cjs"), `const { connect } = require("whalesong/client");\n${body}`);
  for (const name of ["client.js", "client.cjs"]) {
    for (const codec of ["msgpack", "json"]) {
      const { stdout, stderr } = await run(bun, [name, url, codec], { cwd });
      t.same([stdout.trim(), stderr], ["5,000 in order; refused bad_request", ""], `${name}, ${codec}`);
    }
  }
  const reader = start(bun, ["client.js", url, "msgpack", "stay"], { cwd, env: environment });
  t.teardown(() => reader.kill("SIGKILL"));
  const lines = createInterface({ input: reader.stdout })[Symbol.asyncIterator]();
  t.equal((await lines.next()).value, "listening");
  broker.kill("SIGTERM");
  await once(broker, "exit");
  const again = serve(new URL(url).port);
  await urlOf(again);
  const command = join(cwd, "node_modules/.bin/whalesong");
  await run(command, ["post", "after the restart", "--user", "bob", "--url", url], { cwd });
  t.equal((await lines.next()).value, "after the restart");
});

/** The URL that a starting broker prints. */
async function urlOf(broker: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: broker.stdout! })) {
    const found = /listens on (http:\S+)/.exec(line);
    if (found !== null) return found[1]!;
  }
  throw new Error("the broker ended without listening");
}
