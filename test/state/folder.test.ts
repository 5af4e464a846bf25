/* Folder: one broker has a data folder at a time, and only one of its own format. */

import { spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { open } from "lmdb";
import { pack, unpack } from "msgpackr";
import tap from "tap";

import { FolderError, State, inspectDataFolder } from "../../broker/state/index.ts";
import { checkStoreFile } from "../../broker/state/store-file.ts";
import { openStore, post } from "./store.ts";

await tap.test("a folder in use is refused, naming the process; released, it opens again", async (t) => {
  const store = await openStore(t);
  await t.rejects(State.open(store.folder), {
    name: "FolderError",
    message: new RegExp(`process ${process.pid}`),
  });
  t.match(await inspectDataFolder(store.folder), {
    exists: true,
    writable: true,
    lockedBy: { pid: process.pid },
  });
  await store.one(post("alice"));
  await store.reopen();
  t.equal(store.state.applied(), 1);
});

await tap.test(
  "the lock of a process that is no more is stale, also when its number was given to another",
  async (t) => {
    const store = await openStore(t);
    const file = join(store.folder, "lock");
    const mine = JSON.parse(await readFile(file, "utf8")) as { pid: number; started: string };
    const { pid } = spawnSync(process.execPath, ["--version"]);
    for (const holder of [{ pid, started: "1" }, { ...mine, started: "1" }, "half a lo"]) {
      await store.state.close();
      await writeFile(file, typeof holder === "string" ? holder : JSON.stringify(holder));
      t.notOk((await inspectDataFolder(store.folder)).lockedBy);
      store.state = await State.open(store.folder);
      t.same(JSON.parse(await readFile(file, "utf8")), mine);
    }
  },
);

await tap.test("a store of another format is refused and left as it is", async (t) => {
  const store = await openStore(t);
  await store.one(post("alice"));
  await store.state.close();
  const setFormat = async (format: number): Promise<void> => {
    const root = open<Buffer, Buffer>({
      path: store.folder,
      noSubdir: false,
      maxDbs: 64,
      encoding: "binary",
    });
    const table = root.openDB<Buffer, Buffer>("meta", { encoding: "binary", keyEncoding: "binary" });
    const key = Buffer.from("state");
    const meta = unpack(table.get(key)!) as { format: number };
    table.putSync(key, pack({ ...meta, format }));
    await root.close();
  };
  await setFormat(999);
  await t.rejects(State.open(store.folder), FolderError);
  await t.rejects(State.open(store.folder), { message: /version 999.*version 2/ }, "the lock was let go of");
  await setFormat(1);
  await t.rejects(State.open(store.folder), FolderError, "so is one of an earlier format");
  await setFormat(2);
  store.state = await State.open(store.folder);
  t.equal(store.state.applied(), 1);
});

await tap.test("a folder that cannot be made is refused", async (t) => {
  const store = await openStore(t);
  await t.rejects(State.open(join(store.folder, "lock", "below")), {
    name: "FolderError",
    message: /cannot be made/,
  });
});

await tap.test("a store that grows while it is looked at is not taken for one cut short", async (t) => {
  const store = await openStore(t);
  const done = new AbortController();
  const writing = (async () => {
    for (let number = 0; number < 400; number++)
      await store.one(post("alice", { text: `${number} ${"x".repeat(4_000)}` }));
    done.abort();
  })();
  let looks = 0;
  for (; !done.signal.aborted; looks++) await checkStoreFile(store.folder);
  await writing;
  t.ok(looks > 100, `${looks} looks`);
});
