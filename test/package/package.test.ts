/* The package as its users get it: packed, installed into an empty folder, and used from there. */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import tap from "tap";

import type { RunResult } from "../../bench/report/result.ts";
import { embedded, folderOfTest, pack, project, root, run, start } from "./packed.ts";

tap.setTimeout(900_000);
const folder = await folderOfTest();
await project(folder, [await pack(folder)]);

/** Runs a program written into the folder; its output. */
async function node(name: string, program: string): Promise<string> {
  await writeFile(join(folder, name), program);
  const { stdout } = await run("node", [name], { cwd: folder });
  return stdout;
}

await tap.test("the broker embeds, and the SDK talks to it", async (t) => {
  const output = await node("embedded.js", embedded);
  t.equal(output.trim(), "alice hello @bob bob");
});

await tap.test("the protocol comes alone", async (t) => {
  const output = await node(
    "protocol.js",
    `import { checkRequest, closeCodes, extractMentions } from "whalesong/protocol";
     console.log(closeCodes.draining, extractMentions("hi @bob"), checkRequest({ id: 1, op: "ping" }).op);`,
  );
  t.equal(output.trim(), "4000 [ 'bob' ] ping");
});

await tap.test("the command serves and publishes", async (t) => {
  const command = join(folder, "node_modules/.bin/whalesong");
  const { stdout: version } = await run(command, ["--version"], { cwd: folder });
  t.match(version, /^\d+\.\d+\.\d+/);
  const broker = start(command, ["serve", "--port", "0", "--data", "./served-data"], { cwd: folder });
  t.teardown(() => broker.kill("SIGKILL"));
  const url = await urlOf(broker);
  const { stdout: id } = await run(command, ["post", "from the package", "--user", "alice", "--url", url], {
    cwd: folder,
  });
  const { stdout: page } = await run(
    command,
    ["read", "user:alice", "--user", "bob", "--url", url, "--json"],
    { cwd: folder },
  );
  t.match(page, "from the package");
  t.match(page, id.trim());
  broker.kill("SIGTERM");
  const [code] = (await once(broker, "exit")) as [number];
  t.equal(code, 0, "SIGTERM ends it cleanly");
});

await tap.test("the command measures a broker that runs", async (t) => {
  const command = join(folder, "node_modules/.bin/whalesong");
  const broker = start(command, ["serve", "--port", "0", "--data", "./measured-data"], { cwd: folder });
  t.teardown(() => broker.kill("SIGKILL"));
  const url = await urlOf(broker);
  const sizes = ["--online", "30", "--in-flight", "4", "--paced", "600", "--seconds", "0.3"];
  const { stdout } = await run(
    command,
    ["bench", "whale", "--url", url, ...sizes, "--json", "whale.json", "--html", "whale.html"],
    { cwd: folder },
  );
  t.match(stdout, /\| 30 online, 4 in flight /);
  const { rows } = JSON.parse(await readFile(join(folder, "whale.json"), "utf8")) as RunResult;
  for (const { deliveries, publishes, cpu } of rows) {
    t.ok(publishes! > 0 && deliveries === publishes! * 30, "every post reached every reader");
    t.ok(cpu !== undefined, "the CPU of a broker on this machine is seen");
  }
  t.match(await readFile(join(folder, "whale.html"), "utf8"), /<html/);
});

await tap.test("types come along", async (t) => {
  await writeFile(
    join(folder, "typed.ts"),
    `import { Broker, type BrokerOptions } from "whalesong";
     import { connect } from "whalesong/client";
     import { type Post, WhalesongError } from "whalesong/protocol";
     const options: Partial<BrokerOptions> = { port: 0 };
     const broker: Broker = await Broker.start(options);
     const me = await connect(broker.url, { user: "bob" });
     const posts: Post[] = [];
     for await (const event of me.stream("home")) {
       if (event.event === "post") posts.push(event.post);
       // @ts-expect-error a live event has no post
       if (event.event === "live") posts.push(event.post);
     }
     export const code: WhalesongError["code"] = "not_found";`,
  );
  const options = ["--noEmit", "--strict", "--target", "es2023", "--module", "nodenext", "--types", "node"];
  const typeRoots = ["--typeRoots", join(root, "node_modules/@types")];
  await t.resolves(
    run(join(root, "node_modules/.bin/tsc"), [...options, ...typeRoots, "typed.ts"], { cwd: folder }),
  );
});

/** The URL that a starting broker prints. */
async function urlOf(broker: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: broker.stdout! })) {
    const found = /listens on (http:\S+)/.exec(line);
    if (found !== null) return found[1]!;
  }
  throw new Error("the broker ended without listening");
}
