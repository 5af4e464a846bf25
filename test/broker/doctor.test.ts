/* doctor: says what is so, and what to mend. */

import { once } from "node:events";
import { chmodSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createNetServer } from "node:net";
import { join } from "node:path";

import { test } from "tap";

import { type Check, examine, toLines } from "../../broker/doctor.ts";
import { State } from "../../broker/state/index.ts";
import { Environment } from "../../broker/state/environment.ts";
import { readMeta, writeMeta } from "../../broker/state/meta.ts";

async function find(name: string, options: { data?: string; host?: string; port?: number }): Promise<Check> {
  const checks = await examine({ data: ".", host: "127.0.0.1", port: 0, ...options });
  const check = checks.find((one) => one.name === name);
  if (check === undefined) throw new Error(`there is no check ${name}`);
  return check;
}

async function makeStore(path: string): Promise<void> {
  const state = await State.open(path);
  await state.close();
}

void test("where a broker can run nothing fails", async (t) => {
  const data = join(t.testdir(), "not", "yet");
  const checks = await examine({ data, host: "127.0.0.1", port: 0 });
  t.same(
    checks.filter(({ status }) => status === "fail"),
    [],
  );
  t.match(checks.find(({ name }) => name === "data folder")?.found, /the broker will make it/);
});

void test("a store that is there is told by format, epoch and size", async (t) => {
  const data = t.testdir();
  await makeStore(data);
  t.match(await find("store", { data }), {
    status: "ok",
    found: /^format 2, epoch \w+, entries after 0 up to 0$/,
  });
  t.match(await find("data folder", { data }), { status: "ok", found: /KiB$/ });
});

void test("a store of another format fails, and is left as it is", async (t) => {
  const data = t.testdir();
  await makeStore(data);
  const environment = new Environment(data);
  const meta = readMeta(environment.tables.meta);
  if (meta === undefined) throw new Error("a store has its meta");
  await environment.transact(() => writeMeta(environment.tables.meta, { ...meta, format: 99 })).flushed;
  await environment.close();
  const before = readFileSync(join(data, "data.mdb"));
  t.match(await find("store", { data }), {
    status: "fail",
    found: /format 99.* reads format 2/,
    mend: /--data/,
  });
  t.ok(readFileSync(join(data, "data.mdb")).equals(before));
});

void test("a file that is no store, or a part of one, fails instead of ending the process", async (t) => {
  const data = t.testdir({ "data.mdb": "not a store ".repeat(2_000) });
  t.match(await find("store", { data }), { status: "fail", found: /not an LMDB file/ });
  const cut = t.testdir({});
  await makeStore(cut);
  for (const bytes of [10, 5_000, 9_000]) {
    truncateSync(join(cut, "data.mdb"), bytes);
    t.match(
      await find("store", { data: cut }),
      { status: "fail", found: /cut short|not an LMDB file/ },
      `${bytes} bytes`,
    );
    for (const name of ["data.mdb", "opening.json"]) rmSync(join(cut, name));
    await makeStore(cut);
  }
});

void test("a folder in use by a broker is a warning that names its process", async (t) => {
  const data = t.testdir();
  const state = await State.open(data);
  const folder = await find("data folder", { data });
  const store = await find("store", { data });
  await state.close();
  t.match(folder, {
    status: "warn",
    found: new RegExp(`process id ${process.pid}$`),
  });
  t.match(store, { status: "ok" });
});

void test("a folder that cannot be made or written fails", async (t) => {
  const folder = t.testdir({ file: "" });
  const data = join(folder, "file", "data");
  t.match(await find("data folder", { data }), {
    status: "fail",
    found: /file is not a folder/,
    mend: /--data/,
  });
  if (process.getuid?.() === 0) return;
  chmodSync(folder, 0o500);
  t.teardown(() => chmodSync(folder, 0o700));
  t.match(await find("data folder", { data: folder }), { status: "fail" });
  t.match(await find("data folder", { data: join(folder, "new") }), { status: "fail" });
});

void test("a port whose owner hangs up at once is taken all the same", async (t) => {
  const server = createNetServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  t.match(await find("port", { port }), { status: "fail", found: /taken by another program/ });
});

void test("a port that is taken fails, unless a broker has it", async (t) => {
  let metrics = "";
  const server = createServer((_, response) => response.end(metrics)).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  t.match(await find("port", { port }), {
    status: "fail",
    found: /taken by another program/,
    mend: /--port/,
  });
  metrics = "whalesong_store_bytes 1\n";
  t.match(await find("port", { port }), { status: "warn", found: /a broker already answers/ });
});

void test("an address of another machine fails", async (t) => {
  t.match(await find("port", { host: "192.0.2.1" }), { status: "fail", found: /no address of this machine/ });
});

void test("the lines say status, name, what is so and what to mend", async (t) => {
  const lines = toLines([
    { name: "port", status: "fail", found: "taken", mend: "choose another" },
    { name: "free space", status: "ok", found: "1 GiB free" },
  ]);
  t.same(lines.split("\n"), [
    "fail  port        taken",
    `${" ".repeat(18)}-> choose another`,
    "ok    free space  1 GiB free",
    "",
  ]);
});
