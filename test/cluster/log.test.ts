/* Two logs of one cluster, each over a store of its own, in one real JetStream stream. */

import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { pack } from "msgpackr";
import { connect } from "nats";
import { pino } from "pino";
import tap, { type Test } from "tap";

import { newestStamp } from "../../broker/cluster/batch.ts";
import { ClusterLog } from "../../broker/cluster/log.ts";
import { clusterNames } from "../../broker/cluster/names.ts";
import { LogStream } from "../../broker/cluster/stream.ts";
import { Clock } from "../../broker/log/clock.ts";
import { type Command, type Entry, State } from "../../broker/state/index.ts";
import { NatsServers, natsTest } from "./nats-server.ts";

const names = clusterNames("test");
const levelOneStore = fileURLToPath(new URL("../old/folder-0.1.0/data.mdb", import.meta.url));

interface Node {
  state: State;
  log: ClusterLog;
  heard: Entry[];
  /** What it has logged. */
  logged: string[];
  /** Settles when all up to `offset` is durable here. */
  reach(offset: number): Promise<void>;
}

interface Ground {
  nats: NatsServers;
  stream: LogStream;
  created: string;
  node: (options?: NodeOptions) => Promise<Node>;
  publishRaw: (bytes: Uint8Array) => Promise<number>;
}

interface NodeOptions {
  /** Of the messages that are left out. */
  passedOver?: { has: (message: { created: string; seq: number; data: Uint8Array }) => Promise<boolean> };
  /** With a store of 0.1.0. */
  isLevelOne?: boolean;
}

async function ground(t: Test): Promise<Ground> {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-log-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const nats = await NatsServers.for(t);
  const connection = await connect({ servers: nats.urls, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  t.teardown(() => connection.close());
  const stream = await LogStream.of(connection, names);
  const { created } = await stream.create({ replicas: 1 });
  let count = 0;
  const node = async ({ passedOver, isLevelOne = false }: NodeOptions = {}): Promise<Node> => {
    const data = join(folder, `node${++count}`);
    await mkdir(data);
    if (isLevelOne) await cp(levelOneStore, join(data, "data.mdb"));
    const state = await State.open(data);
    await state.enterCluster({ created, seq: 0, time: 0, writers: {} });
    const heard: Entry[] = [];
    const logged: string[] = [];
    const log = new ClusterLog(state, {
      listener: (entries) => heard.push(...entries),
      logger: pino({ level: "info" }, { write: (line: string) => void logged.push(line) }),
      clock: new Clock({ lastAt: () => 0 }),
    });
    log.start(stream, passedOver);
    t.teardown(async () => {
      await log.close();
      await state.close();
    });
    const reach = (offset: number): Promise<void> =>
      new Promise((resolve) => log.whenDurable(offset, resolve));
    return { state, log, heard, logged, reach };
  };
  const publishRaw = async (bytes: Uint8Array): Promise<number> =>
    (await connection.jetstream().publish(names.log, bytes)).seq;
  return { nats, stream, created, node, publishRaw };
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
}

const post = (user: string, text: string): Command => ({ op: "post", user, text, mentions: [], tags: [] });

/** A batch of one command, as a writer with that clock sends it. */
function batchAt(number: number, time: number): Uint8Array {
  return pack([newestStamp, "w", 1, number, [{ op: "user", user: `u${number}`, at: time }]]);
}

await natsTest(
  tap,
  "all nodes apply all commands in one order, and each answers its own",
  { timeoutMs: 60_000 },
  async (t) => {
    const { node } = await ground(t);
    const [a, b] = [await node(), await node()];
    await until(() => a.log.refusal === undefined && b.log.refusal === undefined);
    const outcomes = await Promise.all(
      Array.from({ length: 2_000 }, (_, i) =>
        (i % 3 === 0 ? a : b).log.append(post(`u${i % 7}`, `post ${i}`)),
      ),
    );
    await Promise.all([a.reach(2_000), b.reach(2_000)]);
    t.same(a.heard, b.heard);
    t.equal(a.heard.length, 2_000);
    t.same(new Set(outcomes.map(({ offset }) => offset)).size, 2_000);
    t.same(
      outcomes.map(({ offset }) => offset).filter((_, i) => i % 3 === 0),
      outcomes
        .map(({ offset }) => offset)
        .filter((_, i) => i % 3 === 0)
        .toSorted((x, y) => x - y),
      "in the order in which one node was asked",
    );
    t.same(a.state.meta.cluster, b.state.meta.cluster);
  },
);

await natsTest(
  tap,
  "a lone command is answered, however little else there is",
  { timeoutMs: 60_000 },
  async (t) => {
    const { node } = await ground(t);
    const a = await node();
    await until(() => a.log.refusal === undefined);
    for (let i = 1; i <= 500; i++) await a.log.append(post("u", `post ${i}`)); // one left lying would be refused after 10 s
    t.equal(a.log.durable, 500);
  },
);

await natsTest(
  tap,
  "the time of the log never runs backwards, whatever writers' clocks say",
  { timeoutMs: 60_000 },
  async (t) => {
    const { node, publishRaw } = await ground(t);
    const a = await node();
    await publishRaw(batchAt(1, 5_000));
    await publishRaw(batchAt(2, 3_000));
    await publishRaw(batchAt(3, 6_000));
    await a.reach(3);
    t.same(
      a.heard.map((entry) => entry.at),
      [5_000, 5_000, 6_000],
    );
  },
);

await natsTest(
  tap,
  "a node that meets a newer format stops there and says so; NATS gone and back is waited for",
  { timeoutMs: 60_000 },
  async (t) => {
    const { nats, node, publishRaw } = await ground(t);
    const a = await node();
    await until(() => a.log.refusal === undefined);
    await a.log.append(post("u", "before"));
    await nats.stop();
    await until(() => a.log.refusal !== undefined);
    await t.rejects(a.log.append(post("u", "meanwhile")), { code: "unavailable" });
    await nats.start();
    await until(() => a.log.refusal === undefined);
    await a.log.append(post("u", "after"));
    await publishRaw(pack([newestStamp + 1, "w", 1, 1, []]));
    await until(() => a.log.refusal !== undefined);
    t.match(a.log.refusal, /upgrade this node/);
    t.ok(a.log.isHalted);
    await t.rejects(a.log.append(post("u", "too late")), { code: "unavailable" });
    t.equal(a.log.durable, 2);
  },
);

/** A batch of one command that makes a user. */
function userBatch(number: number, stamp: number, handle: string): Uint8Array {
  return pack([stamp, "w", 1, number, [{ op: "user", user: handle, at: 1 }]]);
}

/** Messages that no node can read. */
const malformed: { [kind: string]: Uint8Array } = {
  "no msgpack": new Uint8Array([0xc1, 1, 2]),
  "no batch": pack({ op: "post" }),
  "no map": pack([newestStamp, "w", 1, 1, [7]]),
  "an operation that there is not": pack([newestStamp, "w", 1, 1, [{ op: "mute", user: "a", at: 1 }]]),
  "a field that is missing": pack([newestStamp, "w", 1, 1, [{ op: "follow", user: "a", at: 1 }]]),
  "a field of another type": pack([newestStamp, "w", 1, 1, [{ op: "user", user: 7, at: 1 }]]),
  "a field too many": pack([newestStamp, "w", 1, 1, [{ op: "user", user: "a", at: 1, mood: "good" }]]),
  "one command of two": pack([
    newestStamp,
    "w",
    1,
    1,
    [
      { op: "user", user: "half", at: 1 },
      { op: "user", at: 1 },
    ],
  ]),
};

await natsTest(
  tap,
  "what no node can read stops it before anything of that is applied, until it is left out: then nothing but the place moves over it",
  { timeoutMs: 60_000 },
  async (t) => {
    const { node, publishRaw, created } = await ground(t);
    let leftOut = -1;
    let asks = 0;
    let asked: unknown;
    const passedOver = {
      has: (message: { seq: number; created: string }): Promise<boolean> => {
        asks++;
        asked = message.created;
        return Promise.resolve(message.seq === leftOut);
      },
    };
    const a = await node({ passedOver });
    await until(() => a.log.refusal === undefined);
    let offset = 0;
    for (const [kind, bytes] of Object.entries(malformed)) {
      t.comment(kind);
      const before = post("u", `before ${kind}`);
      await a.log.append(before);
      offset++;
      const seq = await publishRaw(bytes);
      const mine = { ...a.state.meta.cluster!.writers };
      await until(() => a.log.stopped !== undefined);
      t.same(a.log.stopped, { seq, isNewer: false });
      t.ok(a.log.isHalted);
      t.match(
        a.log.refusal,
        new RegExp(`^message ${seq} .* cannot be applied: .*: whalesong cluster pass-over ${seq}$`),
      );
      await t.rejects(a.log.append(post("u", "meanwhile")), { code: "unavailable" });
      t.equal(a.log.durable, offset);
      t.equal(a.state.meta.cluster!.seq, seq - 1);
      if (offset === 1) {
        const said = a.logged.length;
        await until(() => asks > 3);
        t.same(a.logged.slice(said), [], "while it looks again it says nothing new");
      }
      t.ok(a.log.isHalted);
      leftOut = seq;
      await until(() => a.log.refusal === undefined);
      t.equal(a.log.stopped, undefined);
      t.notOk(a.log.isHalted);
      t.equal(a.log.durable, offset, "it takes no offset");
      t.same(a.state.meta.cluster!.writers, mine, "nor a number of its writer's");
    }
    t.equal(asked, created);
    t.equal(a.state.users.find("half"), undefined);
    const { offset: last } = await a.log.append(post("u", "last"));
    t.equal(last, offset + 1);
    t.same(
      a.logged.filter((line) => line.includes("left out")).length,
      Object.keys(malformed).length,
      "each is told",
    );
  },
);

await natsTest(
  tap,
  "a batch of level 2 in a log of level 1 stops a node, and is left out alike, with others before and behind it in one transaction",
  { timeoutMs: 60_000 },
  async (t) => {
    const { node, publishRaw } = await ground(t);
    await publishRaw(userBatch(1, 2, "before"));
    const seq = await publishRaw(userBatch(2, 3, "early"));
    await publishRaw(new Uint8Array(0));
    await publishRaw(userBatch(2, 2, "behind"));
    await publishRaw(pack([3, "w", 1, 3, [{ op: "level", to: 2, at: 1 }]]));
    await publishRaw(userBatch(4, 3, "late"));
    let isLeftOut = false;
    const passedOver = { has: (): Promise<boolean> => Promise.resolve(isLeftOut) };
    const stopped = await node({ passedOver, isLevelOne: true });
    const head = stopped.state.applied();
    await until(() => stopped.log.stopped !== undefined);
    t.same(stopped.log.stopped, { seq, isNewer: false });
    t.match(stopped.log.refusal, /it is of level 2, and the log is at 1; .*pass-over 2$/);
    t.equal(stopped.state.level, 1);
    t.equal(stopped.log.durable, head + 1, "what is before it is applied");
    isLeftOut = true;
    const later = await node({ passedOver, isLevelOne: true });
    for (const { log, state } of [stopped, later]) {
      await until(() => log.refusal === undefined);
      t.equal(log.durable, head + 4);
      t.equal(state.level, 2);
      for (const handle of ["before", "behind", "late"]) t.not(state.users.find(handle), undefined, handle);
      t.equal(state.users.find("early"), undefined);
    }
    t.same(later.state.meta.cluster, stopped.state.meta.cluster);
  },
);

await natsTest(
  tap,
  "what a node reads is never left out, nor what a newer version wrote; while NATS does not tell, it is stopped",
  { timeoutMs: 60_000 },
  async (t) => {
    const { node, publishRaw } = await ground(t);
    let asked = 0;
    let failure: Error | undefined = new Error("no rights");
    const passedOver = {
      has: (): Promise<boolean> => {
        asked++;
        return failure === undefined ? Promise.resolve(true) : Promise.reject(failure);
      },
    };
    const a = await node({ passedOver });
    await until(() => a.log.refusal === undefined);
    await a.log.append(post("u", "readable"));
    t.equal(asked, 0);
    await publishRaw(new Uint8Array(0));
    await until(() => asked > 1);
    t.ok(a.log.isHalted);
    t.equal(a.logged.filter((line) => line.includes("NATS does not tell")).length, 1);
    failure = undefined;
    await until(() => a.log.refusal === undefined);
    const before = asked;
    const seq = await publishRaw(pack([newestStamp + 1, "w", 1, 1, []]));
    await until(() => a.log.stopped !== undefined);
    t.same(a.log.stopped, { seq, isNewer: true });
    t.match(a.log.refusal, /upgrade this node; it goes on where it stopped$/);
    t.equal(asked, before);
  },
);
