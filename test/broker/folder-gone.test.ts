/* A broker whose folder or files are removed, replaced or renamed says so, and takes nothing that would be lost. */

import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import tap from "tap";

import { Broker } from "../../broker/broker.ts";
import { examine } from "../../broker/doctor.ts";
import { workers } from "../workers/count.ts";
import { folder, postsOf, publish, start, unready } from "./own-folder.ts";

const removals: [what: string, remove: (data: string) => Promise<void>][] = [
  ["the folder is removed", (data) => rm(data, { recursive: true })],
  ["the folder is renamed", (data) => rename(data, `${data}.old`)],
  [
    "the folder is another",
    async (data) => {
      await rename(data, `${data}.old`);
      await mkdir(data);
    },
  ],
  ["data.mdb is removed", (data) => rm(join(data, "data.mdb"))],
  ["lock.mdb is removed", (data) => rm(join(data, "lock.mdb"))],
  ["the lock is removed", (data) => rm(join(data, "lock"))],
  [
    "data.mdb is another",
    async (data) => {
      await writeFile(join(data, "new"), "");
      await rename(join(data, "new"), join(data, "data.mdb"));
    },
  ],
];

for (const [what, remove] of removals) {
  await tap.test(`${what} under a running broker: writes are refused, and it is unready`, async (t) => {
    const data = await folder(t);
    const broker = await Broker.start({ data, port: 0, logLevel: "silent", workers, drainMs: 0 });
    t.teardown(() => broker.stop());
    t.same(await publish(broker, "kept"), { status: 201 });
    await remove(data);
    let taken = 1;
    // What was looked at is believed for a moment.
    for (; (await publish(broker, "still")).status === 201; taken++) await sleep(10);
    for (const text of ["a", "b"]) t.same(await publish(broker, text), { status: 503, code: "unavailable" });
    t.match(
      await unready(broker),
      /files are not those at its path: .*data folder.* (is gone|is another) since this broker/,
    );
    t.equal(await postsOf(broker), taken, "what it has is still read");
  });
}

await tap.test(
  "a broker whose folder is removed says so in its log, once, and stops when it is told to",
  async (t) => {
    const data = await folder(t);
    const broker = await start(t, data);
    await rm(data, { recursive: true });
    while (!broker.log().includes("files are not those at its path")) await sleep(10);
    await broker.stop();
    t.equal(broker.log().trim().split("\n").length, 1, broker.log());
  },
);

for (const [what, remove] of removals.filter(([name]) => name.startsWith("data.mdb")))
  await tap.test(
    `${what}: a broker started there refuses to begin with nothing, and doctor says why`,
    async (t) => {
      const data = await folder(t);
      const broker = await start(t, data);
      await publish(broker, "kept");
      await remove(data);
      await broker.stop();
      const lost = /its data.mdb is gone or empty: put it back, restore a backup/;
      await t.rejects(Broker.start({ data, port: 0, logLevel: "silent", workers: 0 }), lost);
      const store = (await examine({ data, host: "127.0.0.1", port: 0 })).find(
        ({ name }) => name === "store",
      );
      t.match(store, { status: "fail", found: lost });
      await rm(join(data, "opening.json"));
      const anew = await Broker.start({ data, port: 0, logLevel: "silent", workers: 0, drainMs: 0 });
      await anew.stop();
    },
  );

await tap.test("a folder that is put back where it was is taken again", async (t) => {
  const data = await folder(t);
  const broker = await Broker.start({ data, port: 0, logLevel: "silent", workers, drainMs: 0 });
  t.teardown(() => broker.stop());
  await rename(data, `${data}.old`);
  while ((await publish(broker, "refused")).status === 201) await sleep(10);
  await rename(`${data}.old`, data);
  while ((await publish(broker, "taken")).status !== 201) await sleep(10);
  while ((await unready(broker)) !== undefined) await sleep(10);
});
