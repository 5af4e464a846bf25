/* A fresh clone: npm ci, npm pack and npm start work at once, with npm 10 and 11, and leave the tree as it was. */

import { once } from "node:events";
import { copyFile, mkdir } from "node:fs/promises";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import tap from "tap";

import { environment, filenameOf, folderOfTest, root, run, start } from "./packed.ts";
import { runtime } from "./runtimes.ts";

tap.setTimeout(900_000);
const folder = await folderOfTest();

/** What is in the working tree, as a repository of its own without anything that npm makes. */
async function clone(name: string): Promise<string> {
  const cwd = join(folder, name);
  const { stdout } = await run("git", ["ls-files", "-co", "--exclude-standard", "-z"], { cwd: root });
  for (const file of stdout.split("\0")) {
    if (file === "" || !existsSync(join(root, file))) continue;
    await mkdir(dirname(join(cwd, file)), { recursive: true });
    await copyFile(join(root, file), join(cwd, file));
  }
  await run("git", ["init", "-q"], { cwd });
  await run("git", ["add", "-A"], { cwd });
  const author = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
  await run("git", [...author, "commit", "-q", "-m", "all"], { cwd });
  return cwd;
}

async function status(cwd: string): Promise<string> {
  return (await run("git", ["status", "--porcelain"], { cwd })).stdout;
}

for (const name of ["npm10", "npm11"]) {
  await tap.test(`${name}: ci, pack and start`, async (t) => {
    const npm = await runtime(name);
    if (npm === undefined) return;
    const cwd = await clone(name);
    // As a folder of programs of its own, so that npm's scripts find this npm too.
    const env = { ...environment, PATH: `${join(dirname(npm), "../../.bin")}:${environment["PATH"]}` };
    const ask = (...args: string[]): ReturnType<typeof run> =>
      run(process.execPath, [npm, ...args, "--prefer-offline", "--no-audit", "--no-fund"], { cwd, env });

    if (name === "npm10") {
      const { stderr } = await ask("ci");
      t.notMatch(stderr, /EBADENGINE|EUSAGE/);
      t.equal(await status(cwd), "", "after npm ci");
    }
    const { stdout } = await ask("pack", "--json", "--pack-destination", folder);
    const tarball = join(folder, filenameOf(stdout));
    const files = (await run("tar", ["-tzf", tarball], { cwd })).stdout;
    for (const file of [
      "broker/main.js",
      "clients/node/index.cjs",
      "clients/browser/whalesong.js",
      "protocol/index.d.cts",
    ]) {
      t.match(files, `package/dist/${file}\n`);
    }
    t.equal(await status(cwd), "", "after npm pack");

    const broker = start(process.execPath, [npm, "start", "--", "--port", "0", "--workers", "0"], {
      cwd,
      env,
      detached: true,
    });
    t.teardown(() => {
      try {
        process.kill(-broker.pid!, "SIGKILL");
      } catch {
        // It has ended.
      }
    });
    let listens = false;
    for await (const line of createInterface({ input: broker.stdout })) {
      listens = line.includes("listens on http://");
      if (listens) break;
    }
    t.ok(listens);
    t.equal(await status(cwd), "", "while it runs, with its data");
    process.kill(-broker.pid!, "SIGTERM");
    await once(broker, "exit");
    t.equal(await status(cwd), "", "after npm start");
  });
}
