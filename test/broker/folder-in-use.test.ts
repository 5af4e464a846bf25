/* One broker has a data folder at a time, wherever the second one runs and whatever was removed from the folder; and a broker
 * whose files are gone says so, and takes nothing that would be lost. */

import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import { BrokerProcess } from "../crash/broker-process.ts";
import { workers } from "../workers/count.ts";
import { inPidNamespace, pidNamespaceTest } from "./pid-namespace.ts";

const main = new URL("../../broker/main.ts", import.meta.url).pathname;

async function folder(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "whalesong-in-use-"));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return join(path, "data");
}

interface Started {
  by?: string[];
  flags?: string[];
}

async function start(
  t: Test,
  data: string,
  { by = [], flags = [] }: Started = {},
): Promise<BrokerProcess & { log: () => string }> {
  let log = "";
  const broker = await BrokerProcess.launch(
    ["--data", data, "--port", "0", "--log-level", "warn", ...flags],
    {
      by,
      onLog: (text) => (log += text),
    },
  );
  t.teardown(() => (broker.hasEnded ? undefined : broker.kill()));
  return Object.assign(broker, { log: () => log });
}

/** Tries to start another broker, in a namespace of its own where `by` says so. What it says when it is refused. */
function second(data: string, by: string[] = []): string {
  const [program, ...args] = [...by, process.execPath, "--import=tsx", main];
  const serve = ["serve", "--data", data, "--port", "0", "--workers", "0"];
  const { status, stderr, stdout } = spawnSync(program, [...args, ...serve], {
    encoding: "utf8",
    timeout: 60_000,
    killSignal: "SIGKILL",
  });
  return status === 1 ? stderr : `status ${status}: ${stdout}${stderr}`;
}

async function publish({ url }: { url: string }, text: string): Promise<{ status: number; code?: string }> {
  const answer = await fetch(`${url}/v1/posts?user=alice`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text }),
  });
  const { error } = (await answer.json()) as { error?: { code: string } };
  return error === undefined ? { status: answer.status } : { status: answer.status, code: error.code };
}

async function postsOf({ url }: { url: string }): Promise<number> {
  const answer = await fetch(`${url}/v1/streams/user%3Aalice?user=bob&limit=100`);
  return ((await answer.json()) as { items: unknown[] }).items.length;
}

/** Why it is not ready; undefined when it is. */
async function unready({ url }: { url: string }): Promise<string | undefined> {
  const answer = await fetch(`${url}/readyz`);
  return answer.status === 200 ? undefined : await answer.text();
}

for (const isFirst of [true, false]) {
  const which = isFirst ? "with the same process id there" : "with another process id there";
  await pidNamespaceTest(
    tap,
    `a broker in a PID namespace of its own, ${which}, is refused the folder of another`,
    async (t) => {
      const data = await folder(t);
      const broker = await start(t, data, { by: inPidNamespace() });
      t.same(await publish(broker, "first"), { status: 201 });
      t.match(second(data, inPidNamespace({ isFirst })), /data folder .*: in use by another broker/);
      t.match(second(data), /data folder .*: in use by another broker/, "so is one outside");
      t.same(await publish(broker, "second"), { status: 201 }, "the first has not noticed");
      t.equal(await postsOf(broker), 2);
      t.equal(await unready(broker), undefined);
      await broker.kill();
      const next = await start(t, data, { by: inPidNamespace({ isFirst }) });
      t.equal(await postsOf(next), 2, "once it is gone the folder is free, and whole");
    },
  );

  await pidNamespaceTest(
    tap,
    `doctor in a PID namespace of its own, ${which}, tells of a running broker and its store, and does it no harm`,
    async (t) => {
      const data = await folder(t);
      const broker = await start(t, data, { by: inPidNamespace() });
      await publish(broker, "first");
      for (const more of [["--json"], ["--digest"]]) {
        const [program, ...args] = [...inPidNamespace({ isFirst }), process.execPath, "--import=tsx", main];
        const command = [...args, "doctor", "--data", data, "--port", "0", ...more];
        const { stdout, stderr } = spawnSync(program, command, { encoding: "utf8", timeout: 60_000 });
        t.equal(stderr, "");
        if (more[0] === "--digest") t.match(stdout, /^epoch \w+ {2}head 1 {2}digest [0-9a-f]{64}\n$/);
        else {
          const { checks } = JSON.parse(stdout) as { checks: { name: string }[] };
          t.match(
            checks.find(({ name }) => name === "data folder"),
            { status: "warn", found: /in use by/ },
          );
          t.match(
            checks.find(({ name }) => name === "store"),
            { status: "ok", found: /up to 1$/ },
          );
        }
      }
      t.same(await publish(broker, "second"), { status: 201 });
      t.equal(await postsOf(broker), 2);
    },
  );
}

await tap.test(
  "a broker killed with its workers leaves no lock behind: the next starts at once",
  async (t) => {
    const data = await folder(t);
    for (let life = 1; life <= 2; life++) {
      const broker = await start(t, data, { flags: ["--workers", "2"] });
      t.same(await publish(broker, `life ${life}`), { status: 201 });
      await broker.kill();
    }
    const last = await start(t, data);
    t.equal(await postsOf(last), 2);
  },
);

await tap.test(
  "whatever is removed from the folder of a running broker, no second one gets it",
  async (t) => {
    for (const name of ["lock", "data.mdb", "lock.mdb"]) {
      const data = await folder(t);
      const broker = await start(t, data);
      await publish(broker, "first");
      await rm(join(data, name));
      t.match(second(data), /in use by another broker/, name);
      await broker.kill();
    }
  },
);

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
    await sleep(150); // what is asked sooner may still be taken
    for (const text of ["a", "b"]) t.same(await publish(broker, text), { status: 503, code: "unavailable" });
    t.match(await unready(broker), /data folder .* (is gone|is another) since this broker opened it/);
    t.equal(await postsOf(broker), 1, "what it has is still read");
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
