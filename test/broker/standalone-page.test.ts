/* broker/STANDALONE.md, followed: its commands are run as they stand there, in folders of the test's own. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import { connect } from "../../clients/node/index.ts";
import { Runbook } from "../cluster/runbook.ts";
import { nodeArgs } from "../program.ts";

const page = new URL("../../broker/STANDALONE.md", import.meta.url);
const heading = "Back it up and restore it";

await tap.test("a broker is backed up while it runs, and restored", async (t) => {
  const runbook = new Runbook(await readFile(page, "utf8"));
  const root = await mkdtemp(join(tmpdir(), "whalesong-standalone-"));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const data = join(root, "var/lib/whalesong");
  await mkdir(join(root, "var/backups/whalesong"), { recursive: true });
  await mkdir(join(root, "bin"));
  const command = join(root, "bin/whalesong");
  const broker = nodeArgs("broker/main")
    .map((arg) => JSON.stringify(arg))
    .join(" ");
  await writeFile(command, `#!/bin/sh\nexec "${process.execPath}" ${broker} "$@"\n`);
  await chmod(command, 0o755);
  const run = (block: string): Promise<string> =>
    runIn(root, block.replaceAll(/(?<= )\/(var|tmp)\//g, `${root}/$1/`));

  const first = await start(t, data);
  await post(first, "before the backup");
  await run(runbook.take(heading, "whalesong backup"));
  await post(first, "after the backup");
  const { epoch } = first;
  await first.stop();

  t.match(await run(runbook.take(heading, "whalesong doctor")), /epoch/);
  await run(runbook.take(heading, "--replace"));
  const second = await start(t, data);
  t.not(second.epoch, epoch, "clients are told that what came after the backup is gone");
  t.same(await postsAt(second), ["before the backup"]);
  t.same(runbook.left, [], "no command of the page is left that nobody has run");
});

async function start(t: Test, data: string): Promise<Broker> {
  const broker = await Broker.start({ port: 0, data, logLevel: "silent" });
  t.teardown(() => broker.stop(0));
  return broker;
}

async function post(broker: Broker, text: string): Promise<void> {
  const me = await connect(broker.url.replace(/^http/, "ws"), { user: "alice" });
  await me.post(text);
  await me.close();
}

async function postsAt(broker: Broker): Promise<string[]> {
  const response = await fetch(`${broker.url}/v1/users/alice/posts?user=alice`);
  const { items } = (await response.json()) as { items: { post?: { text: string } }[] };
  return items.map(({ post: found }) => found?.text ?? "");
}

async function runIn(root: string, commands: string): Promise<string> {
  const { PATH = "", HOME = "" } = process.env;
  const shell = spawn("sh", ["-ec", commands], { env: { PATH: `${join(root, "bin")}:${PATH}`, HOME } });
  let said = "";
  for (const output of [shell.stdout, shell.stderr])
    output.setEncoding("utf8").on("data", (text: string) => (said += text));
  const [status] = (await once(shell, "close")) as [number];
  if (status !== 0) throw new Error(`${commands}\nended with ${status}:\n${said}`);
  return said;
}
