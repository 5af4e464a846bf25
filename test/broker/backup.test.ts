/* backup and restore: a backup is whole and of one moment, also of a broker that runs; what is restored begins a new epoch unless nothing was
 * answered since; and nothing is replaced that was not to be, or by what is damaged. */

import { cp, mkdir, mkdtemp, open, readFile, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";

import tap, { type Test } from "tap";

import { backUp } from "../../broker/backup/backup.ts";
import { type RestoreOptions, restore } from "../../broker/backup/restore.ts";
import { Broker } from "../../broker/broker.ts";
import { digestStore } from "../../broker/state/digest.ts";
import { State } from "../../broker/state/index.ts";
import { whalesong } from "../cli/whalesong.ts";
import { BrokerProcess } from "../crash/broker-process.ts";
import { faultsOf } from "../state/consistency.ts";
import { openStore, post } from "../state/store.ts";
import { inPidNamespace, pidNamespaceTest } from "./pid-namespace.ts";
import { nodeArgs } from "../program.ts";

interface Place {
  data: string;
  backup: string;
}

async function place(t: Test): Promise<Place> {
  const path = await mkdtemp(join(tmpdir(), "whalesong-backup-"));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return { data: join(path, "data"), backup: join(path, "some", "where", "backup") };
}

async function during<T>(data: string, work: (broker: Broker) => Promise<T>): Promise<T> {
  const broker = await Broker.start({ data, port: 0, logLevel: "silent", drainMs: 0 });
  try {
    return await work(broker);
  } finally {
    await broker.stop();
  }
}

async function publish({ url }: { url: string }, count: number): Promise<{ id: string; cursor: string }> {
  let last: { id: string; cursor: string } | undefined;
  for (let number = 0; number < count; number++) {
    const answer = await fetch(`${url}/v1/posts?user=alice`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: `post ${number}` }),
    });
    last = (await answer.json()) as { id: string; cursor: string };
  }
  return last!;
}

async function readAfter({ url }: { url: string }, cursor: string): Promise<string | number> {
  const answer = await fetch(`${url}/v1/streams/user%3Aalice?user=bob&after=${cursor}`);
  const page = (await answer.json()) as { items?: unknown[]; error?: { code: string } };
  return page.error?.code ?? page.items!.length;
}

/** A folder with a backup of two posts; the data folder has gone on by three. */
async function backedUp(t: Test): Promise<Place & { epoch: string; lost: string }> {
  const at = await place(t);
  const epoch = await during(at.data, async (broker) => (await publish(broker, 2), broker.epoch));
  await backUp(at.data, at.backup);
  const { cursor } = await during(at.data, (broker) => publish(broker, 3));
  return { ...at, epoch, lost: cursor };
}

await tap.test("a backup of a stopped broker is the same store; only its user may read it", async (t) => {
  const { data, backup } = await place(t);
  await during(data, (broker) => publish(broker, 5));
  const before = process.umask(0);
  const found = await backUp(data, backup).finally(() => process.umask(before));
  t.match(found, { head: 5, floor: 0, isOfCluster: false });
  t.same((await readdir(backup)).sort(), ["backup.json", "data.mdb"]);
  t.same(await digestStore(backup), await digestStore(data));
  for (const [name, mode] of [
    [".", 0o700],
    ["data.mdb", 0o600],
    ["backup.json", 0o600],
  ] as const)
    t.equal((await stat(join(backup, name))).mode & 0o777, mode, name);
});

await tap.test("a backup taken under writes is of one moment, and whole", async (t) => {
  const store = await openStore(t);
  const done = new AbortController();
  const writing = (async () => {
    for (let number = 0; !done.signal.aborted; number++)
      await store.one(post(`user${number % 20}`, { mentions: ["alice"], tags: ["tag"] }));
  })();
  while (store.state.applied() < 200) await new Promise((resolve) => setImmediate(resolve));
  const target = join(store.folder, "backup");
  const before = store.state.applied();
  const { status, stderr, stdout } = await whalesong(["backup", target, "--data", store.folder, "--json"]);
  done.abort();
  await writing;
  t.same([status, stderr], [0, ""]);
  const { head } = JSON.parse(stdout) as { head: number };
  t.ok(head >= before && head <= store.state.applied(), `${before} ${head} ${store.state.applied()}`);
  const data = join(store.folder, "restored");
  await restore(target, data);
  const state = await State.open(data);
  t.equal(state.applied(), head);
  t.same(faultsOf(state), []);
  t.same(state.notices, []);
  await state.close();
});

await pidNamespaceTest(
  tap,
  "a backup of a running broker of another PID namespace, where the process has the broker's id",
  async (t) => {
    const { data, backup } = await place(t);
    const broker = await BrokerProcess.launch(["--data", data, "--port", "0", "--log-level", "warn"], {
      by: inPidNamespace(),
    });
    t.teardown(() => broker.kill());
    await publish(broker, 3);
    const [program, ...args] = [...inPidNamespace(), process.execPath, ...nodeArgs("broker/main")];
    const { status, stderr } = spawnSync(program!, [...args, "backup", backup, "--data", data], {
      encoding: "utf8",
    });
    t.same([status, stderr], [0, ""]);
    await publish(broker, 1);
    t.equal((await digestStore(backup))!.offset, 3);
  },
);

await tap.test(
  "what is restored begins a new epoch: a cursor from after the backup is refused",
  async (t) => {
    const { data, backup, epoch, lost } = await backedUp(t);
    const restored = await restore(backup, data, { replace: true });
    t.match(restored, { before: epoch, head: 2, isVerified: true, replaced: { epoch, head: 5 } });
    await during(data, async (broker) => {
      t.same(broker.notices, [], "it is no copy put back");
      t.equal(broker.epoch, restored.epoch);
      t.not(broker.epoch, epoch);
      await publish(broker, 4);
      t.equal(await readAfter(broker, lost), "epoch_mismatch");
    });
    t.same((await readdir(data)).sort(), ["data.mdb", "lock.mdb", "opening.json"]);
  },
);

await tap.test("restored with the same epoch, cursors go on", async (t) => {
  const { data, backup } = await place(t);
  const { cursor } = await during(data, (broker) => publish(broker, 2));
  await backUp(data, backup);
  const moved = `${data}.moved`;
  await restore(backup, moved, { sameEpoch: true });
  await during(moved, async (broker) => {
    t.same(broker.notices, []);
    await publish(broker, 4);
    t.equal(await readAfter(broker, cursor), 4);
  });
});

await tap.test(
  "a backup that is put back by hand begins a new epoch, also over the files that are there",
  async (t) => {
    for (const putBack of [
      (from: string, data: string) => cp(join(from, "data.mdb"), join(data, "data.mdb")),
      async (from: string, data: string) => {
        await rm(data, { recursive: true });
        await cp(from, data, { recursive: true });
      },
    ]) {
      const { data, backup, epoch, lost } = await backedUp(t);
      await putBack(backup, data);
      await during(data, async (broker) => {
        t.not(broker.epoch, epoch);
        await publish(broker, 4);
        t.equal(await readAfter(broker, lost), "epoch_mismatch");
      });
    }
  },
);

await tap.test("a copy of a stopped broker's folder is restored, too; a damaged one is not", async (t) => {
  const { data, backup } = await place(t);
  await during(data, (broker) => publish(broker, 200));
  await cp(data, backup, { recursive: true });
  t.match(await restore(backup, `${data}.1`), { head: 200, isVerified: false });
  const file = join(backup, "data.mdb");
  await truncate(file, Math.floor((await stat(file)).size / 2 / 4096) * 4096);
  await t.rejects(restore(backup, `${data}.2`), {
    name: "FolderError",
    message: /cannot be read whole|cut short/,
  });
  await t.rejects(stat(`${data}.2`), { code: "ENOENT" }, "nothing is left of it");
});

const damages: [what: string, damage: (backup: string) => Promise<void>, said: RegExp][] = [
  [
    "a bit of it is another",
    async (backup) => {
      const file = await open(join(backup, "data.mdb"), "r+");
      const { size } = await file.stat();
      const byte = Buffer.alloc(1);
      await file.read(byte, 0, 1, size - 100);
      byte[0]! ^= 1;
      await file.write(byte, 0, 1, size - 100);
      await file.close();
    },
    /damaged/,
  ],
  ["it is cut short", async (backup) => truncate(join(backup, "data.mdb"), 8_192), /damaged|cut short/],
  ["its data.mdb is empty", async (backup) => truncate(join(backup, "data.mdb"), 0), /no backup in it/],
  ["its data.mdb is gone", async (backup) => rm(join(backup, "data.mdb")), /no backup in it/],
  [
    "its backup.json is broken",
    async (backup) => writeFile(join(backup, "backup.json"), "{"),
    /backup\.json: damaged/,
  ],
  [
    "its store is of another format",
    async (backup) => change(backup, { format: 99 }),
    /format 99.*restore it with the broker that made it/,
  ],
  ["it is of a later version", async (backup) => change(backup, { backup: 2 }), /version 2/],
  ["backup.json tells of another store", async (backup) => change(backup, { head: 7 }), /damaged/],
];

async function change(backup: string, fields: object): Promise<void> {
  const file = join(backup, "backup.json");
  await writeFile(
    file,
    JSON.stringify({ ...(JSON.parse(await readFile(file, "utf8")) as object), ...fields }),
  );
}

await tap.test("a damaged backup replaces nothing", async (t) => {
  for (const [what, damage, said] of damages) {
    const { data, backup } = await backedUp(t);
    const before = await digestStore(data);
    await damage(backup);
    await t.rejects(restore(backup, data, { replace: true }), { name: "FolderError", message: said }, what);
    t.same(await digestStore(data), before, `${what}: the data are as they were`);
    t.notOk((await readdir(data)).includes("incoming"));
  }
});

await tap.test("restore replaces nothing that it was not told to, and nothing that is in use", async (t) => {
  const { data, backup } = await backedUp(t);
  await t.rejects(restore(backup, data), { name: "FolderError", message: /not empty.*--replace/ });
  const other = `${data}.other`;
  await mkdir(other);
  await writeFile(join(other, "letters"), "");
  await t.rejects(restore(backup, other), { name: "FolderError", message: /not empty \(it has letters\)/ });
  await t.rejects(restore(backup, backup), { name: "FolderError", message: /itself/ });
  await during(data, async () => {
    const options: RestoreOptions = { replace: true };
    await t.rejects(restore(backup, data, options), {
      name: "FolderError",
      message: /in use by another broker/,
    });
    await t.rejects(restore(data, `${data}.new`), {
      name: "FolderError",
      message: /running broker.*whalesong backup/,
    });
  });
  t.match(await restore(backup, data, { replace: true }), { head: 2 });
});

await tap.test("backup overwrites nothing, and says what it cannot do", async (t) => {
  const { data, backup } = await backedUp(t);
  await t.rejects(backUp(data, backup), { name: "FolderError", message: /not empty/ });
  await t.rejects(backUp(data, join(data, "data.mdb", "x")), {
    name: "FolderError",
    message: /cannot be made/,
  });
  await t.rejects(backUp(`${data}.none`, `${backup}.2`), { name: "FolderError", message: /no store yet/ });
  await t.rejects(stat(`${backup}.2`), { code: "ENOENT" });
  await truncate(join(data, "data.mdb"), 8_192);
  await t.rejects(backUp(data, `${backup}.2`), { name: "FolderError", message: /cut short/ });
});

await tap.test("the commands say what they did, and what is next", async (t) => {
  const { data, backup } = await place(t);
  const epoch = await during(data, async (broker) => (await publish(broker, 2), broker.epoch));
  t.match(await whalesong(["backup", backup, "--data", data]), {
    status: 0,
    stdout: new RegExp(`is backed up in .*after 0 up to 2, epoch ${epoch}\\n\\d+ bytes, on disk; \\d+ rows`),
  });
  t.match(await whalesong(["restore", backup, "--data", data]), { status: 1, stderr: /not empty/ });
  t.match(await whalesong(["restore", backup, "--data", data, "--replace"]), {
    status: 0,
    stdout: new RegExp(
      `gone is what it had: up to 2, epoch ${epoch}\\na new epoch begins, \\w+ after ${epoch}[^]*next: whalesong serve`,
    ),
  });
  t.match(await whalesong(["restore"]), { status: 2, stderr: /missing required argument/ });
});
