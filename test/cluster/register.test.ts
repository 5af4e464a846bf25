/* The register of nodes: which there are and what they read, also while they are away. */

import { type NatsConnection, connect } from "nats";
import { pino } from "pino";
import tap, { type Test } from "tap";

import { keyPart } from "../../broker/cluster/bucket.ts";
import { type NodeRow, Register, enrol, levelsOf, rowsFor } from "../../broker/cluster/register.ts";
import type { NodeStatus } from "../../broker/cluster/status.ts";
import { createLogger } from "../../broker/logger.ts";
import { budget } from "../pace.ts";
import { NatsServers, natsTest } from "./nats-server.ts";

const timeoutMs = 60_000;
const replicas = 1;
const bucket = "test_nodes";

function row(node: string, newest = 2, run = `run of ${node}`): NodeRow {
  return { node, run, version: "0.2.0", oldest: 1, newest };
}

function answer(node: string, levels?: [number, number], run = `run of ${node}`): NodeStatus {
  const version = levels === undefined ? "0.1.0" : "0.2.0";
  const place = { epoch: "e", head: 0, floor: 0, created: "", seq: 0, isKeeper: false, startedAt: 0 };
  const status = { node, run, version, url: "", sessions: 0, ...place };
  return levels === undefined ? status : { ...status, levels };
}

async function connectTo(t: Test, servers: string, user?: string): Promise<NatsConnection> {
  const who = user === undefined ? {} : { user, pass: user };
  const connection = await connect({ servers, maxReconnectAttempts: -1, reconnectTimeWait: 50, ...who });
  t.teardown(() => connection.close());
  return connection;
}

async function until(isSo: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
}

await natsTest(
  tap,
  "every name has a row of its own, the newest that was written, until it is forgotten",
  { timeoutMs },
  async (t) => {
    const nats = await NatsServers.for(t);
    const register = await Register.of(await connectTo(t, nats.urls), { bucket });
    t.same(await register.list(), [], "there is no bucket yet");
    t.equal(await register.forget("a"), false);
    const long = "n".repeat(5_000);
    const nodes = [
      "host-5252",
      "",
      " ",
      "*",
      ">",
      "a.b",
      ".a",
      "a.",
      "=2e",
      "ü",
      "\0",
      "A",
      "a",
      long,
      `${long}x`,
    ];
    for (const node of nodes) await register.note(row(node, 1), { replicas });
    for (const node of nodes) await register.note(row(node), { replicas });
    const before = Date.now();
    const listed = await register.list();
    t.equal(listed.length, nodes.length);
    t.match(
      listed,
      nodes.toSorted((a, b) => (a < b ? -1 : 1)).map((node) => row(node)),
    );
    for (const { seenAt } of listed) t.ok(Math.abs(seenAt - before) < 600_000);
    t.equal(await register.forget("*"), true);
    t.equal(await register.forget("*"), false);
    t.equal((await register.list()).length, nodes.length - 1, "and nobody else with it");
  },
);

await natsTest(
  tap,
  "a row of which nobody has heard for long is gone; a register that NATS lost is begun again",
  { timeoutMs },
  async (t) => {
    const nats = await NatsServers.for(t);
    const connection = await connectTo(t, nats.urls);
    const register = await Register.of(connection, { bucket, ttlMs: budget(2_000) });
    await register.note(row("a"), { replicas });
    t.equal((await register.list()).length, 1);
    await until(async () => (await register.list()).length === 0);
    await register.note(row("a"), { replicas });
    const manager = await connection.jetstreamManager();
    await manager.streams.delete(`KV_${bucket}`);
    t.same(await register.list(), []);
    await until(() =>
      register.note(row("b"), { replicas }).then(
        () => true,
        () => false, // that it is gone is seen at the first attempt
      ),
    );
    t.match(await register.list(), [{ node: "b" }]);
    await connection.jetstream().publish(`$KV.${bucket}.c`, "no row");
    await connection.jetstream().publish(`$KV.${bucket}.d`, "null");
    t.match(await register.list(), [{ node: "b" }], "what no node wrote is no row");
  },
);

await natsTest(
  tap,
  "without rights for it that is said, with what to do, once in a while",
  { timeoutMs },
  async (t) => {
    const configuration = `authorization { users: [
      { user: all, password: all }
      { user: less, password: less, permissions: {
        publish: { deny: ["$JS.API.STREAM.*.KV_${bucket}", "$KV.${bucket}.>"] }
      } }
    ] }
    no_auth_user: all`;
    const nats = await NatsServers.for(t, { configuration });
    const register = await Register.of(await connectTo(t, nats.urls, "less"), { bucket });
    const refused = {
      message: /does not let this node use the bucket test_nodes; allow it as broker\/deploy/,
    };
    await t.rejects(register.list(), refused);
    await t.rejects(register.note(row("a"), { replicas }), refused);
    const logged: string[] = [];
    const logger = pino({ level: "info" }, { write: (line: string) => void logged.push(line) });
    const ended = new AbortController();
    let asked = 0;
    const ask = (): Promise<NodeStatus[]> => Promise.resolve(asked++ < 5 ? [] : (ended.abort(), []));
    const parts = { register, self: row("a"), replicas, ask, logger, everyMs: 1 };
    await enrol(parts, ended.signal);
    t.equal(logged.length, 1);
    t.match(logged[0], /"level":40.*KV|bucket test_nodes.*register of nodes/s);
  },
);

await natsTest(
  tap,
  "a node writes itself and those of earlier versions, and again while they answer",
  { timeoutMs },
  async (t) => {
    const nats = await NatsServers.for(t);
    const register = await Register.of(await connectTo(t, nats.urls), { bucket });
    const ended = new AbortController();
    t.teardown(() => ended.abort());
    let answers = [answer("self", [1, 2]), answer("old"), answer("other", [1, 2])];
    const ask = (): Promise<NodeStatus[]> => Promise.resolve(answers);
    const parts = { register, self: row("self"), replicas, ask, logger: createLogger("silent"), everyMs: 20 };
    const enrolling = enrol(parts, ended.signal);
    await until(async () => (await register.list()).length === 2);
    t.match(await register.list(), [
      { node: "old", version: "0.1.0", oldest: 1, newest: 1 },
      { node: "self", version: "0.2.0", oldest: 1, newest: 2 },
    ]);
    await register.forget("old");
    await until(async () => (await register.list()).length === 2);
    answers = [];
    const seenAt = async (node: string): Promise<number> =>
      (await register.list()).find((one) => one.node === node)!.seenAt;
    const since = await seenAt("self");
    await until(async () => (await seenAt("self")) > since + budget(200));
    t.ok((await seenAt("old")) < (await seenAt("self")), "one that is away is not written again");
    ended.abort();
    await enrolling;
    t.equal((await register.list()).length, 2, "and a node that ends leaves its row");
  },
);

await tap.test("of those that share a name and answer, the one counts that reads least", async (t) => {
  const self = row("a", 2, "self");
  const old = { node: "a", run: "old", version: "0.1.0", oldest: 1, newest: 1 };
  t.same(rowsFor(self, []), [self]);
  t.same(rowsFor(self, [answer("a", [1, 2], "self")]), [self]);
  t.same(rowsFor(self, [answer("a", undefined, "old"), answer("a", [1, 2], "self")]), [old]);
  t.same(rowsFor(self, [answer("a", [1, 3], "new")]), [self]);
  t.same(rowsFor(self, [answer("b", [1, 2])]), [self], "others write their own");
  t.same(levelsOf(answer("a")), [1, 1]);
  t.same(levelsOf(answer("a", [2, 3])), [2, 3]);
});

await tap.test("different texts are different parts of a key, that NATS takes", async (t) => {
  const texts = ["", "=", "a", "A", "a.b", "a=2eb", "é", "e\u0301", "a b", "x".repeat(100), "x".repeat(101)];
  const parts = texts.map(keyPart);
  t.equal(new Set(parts).size, texts.length);
  for (const part of parts) t.match(part, /^[\w=-]{1,200}$/);
});
