/* Modes: the data folder and all that the broker writes into it are its user's alone, whatever the umask. */

import { chmod, mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";

import tap, { type Test } from "tap";

import { Environment } from "../../broker/state/environment.ts";
import { State, inspectDataFolder, inspectStore } from "../../broker/state/index.ts";
import { post } from "./store.ts";

/** Everything under `path`, itself as ".", by its mode. */
async function modesOf(path: string): Promise<Record<string, string>> {
  const modes: Record<string, string> = {};
  for (const name of [".", ...(await readdir(path, { recursive: true })).sort()])
    modes[name] = ((await stat(join(path, name))).mode & 0o7777).toString(8);
  return modes;
}

async function under<T>(umask: number, work: () => Promise<T>): Promise<T> {
  const before = process.umask(umask);
  return await work().finally(() => process.umask(before));
}

async function writeSome(path: string): Promise<State> {
  const state = await State.open(path);
  await state.commit([{ ...post("alice"), at: 1 }]).flushed;
  return state;
}

function folder(t: Test): string {
  return join(t.testdir(), "above", "data");
}

for (const umask of [0, 0o022, 0o077]) {
  await tap.test(`under umask ${umask.toString(8)} all is made for its user alone`, async (t) => {
    const path = folder(t);
    await under(umask, async () => {
      const state = await writeSome(path);
      await state.copyTo(join(path, "outgoing"));
      t.same(await modesOf(path), {
        ".": "700",
        "data.mdb": "600",
        lock: "600",
        "lock.mdb": "600",
        "opening.json": "600",
        outgoing: "700",
        "outgoing/data.mdb": "600",
      });
      await state.close();
    });
  });
}

await tap.test("who only looks into a folder makes nothing that others may read", async (t) => {
  const path = folder(t);
  await (await writeSome(path)).close();
  await under(0, async () => {
    await inspectStore(path);
    await new Environment(path, { readOnly: true }).close();
  });
  t.equal((await modesOf(path))["lock.mdb"], "600");
});

await tap.test(
  "files that an earlier version left open to others are narrowed; of the folder it is told",
  async (t) => {
    const path = folder(t);
    await (await writeSome(path)).close();
    await chmod(path, 0o755);
    for (const name of await readdir(path)) await chmod(join(path, name), 0o666);
    await mkdir(join(path, "letters"), 0o755);
    t.match(await inspectDataFolder(path), { openness: /mode 0755.*chmod 700/ });
    const state = await State.open(path);
    const { ".": own, letters, ...files } = await modesOf(path);
    t.same([own, letters], ["755", "755"], "what may be somebody's on purpose is left");
    for (const [name, mode] of Object.entries(files)) t.equal(mode, "600", name);
    t.match(state.notices.join(), /other users may enter it \(mode 0755\).*chmod 700/);
    await state.close();
    await chmod(path, 0o700);
    const again = await State.open(path);
    t.same(again.notices, []);
    await again.close();
  },
);
