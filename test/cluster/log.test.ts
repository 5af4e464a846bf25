/* Two logs of one cluster, each over a store of its own, in one real JetStream stream. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { pack } from "msgpackr";
import { connect } from "nats";
import tap, { type Test } from "tap";

import { batchFormat } from "../../broker/cluster/batch.ts";
import { ClusterLog } from "../../broker/cluster/log.ts";
import { clusterNames } from "../../broker/cluster/names.ts";
import { LogStream } from "../../broker/cluster/stream.ts";
import { Clock } from "../../broker/log/clock.ts";
import { createLogger } from "../../broker/logger.ts";
import { type Command, type Entry, State } from "../../broker/state/index.ts";
import { NatsServers, natsTest } from "./nats-server.ts";

const names = clusterNames("test");

interface Node {
  state: State;
  log: ClusterLog;
  heard: Entry[];
  /** Settles when all up to `offset` is durable here. */
  reach(offset: number): Promise<void>;
}

interface Ground {
  nats: NatsServers;
  stream: LogStream;
  created: string;
  node: () => Promise<Node>;
  publishRaw: (bytes: Uint8Array) => Promise<void>;
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
  const node = async (): Promise<Node> => {
    const state = await State.open(join(folder, `node${++count}`));
    await state.enterCluster({ created, seq: 0, time: 0, writers: {} });
    const heard: Entry[] = [];
    const log = new ClusterLog(state, {
      listener: (entries) => heard.push(...entries),
      logger: createLogger("silent"),
      clock: new Clock({ lastAt: () => 0 }),
    });
    log.start(stream);
    t.teardown(async () => {
      await log.close();
      await state.close();
    });
    const reach = (offset: number): Promise<void> =>
      new Promise((resolve) => log.whenDurable(offset, resolve));
    return { state, log, heard, reach };
  };
  const publishRaw = async (bytes: Uint8Array): Promise<void> => {
    await connection.jetstream().publish(names.log, bytes);
  };
  return { nats, stream, created, node, publishRaw };
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
}

const post = (user: string, text: string): Command => ({ op: "post", user, text, mentions: [], tags: [] });

/** A batch of one command, as a writer with that clock sends it. */
function batchAt(number: number, time: number): Uint8Array {
  return pack([batchFormat, "w", 1, number, [{ op: "user", user: `u${number}`, at: time }]]);
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
    await publishRaw(pack([batchFormat + 1, "w", 1, 1, []]));
    await until(() => a.log.refusal !== undefined);
    t.match(a.log.refusal, /upgrade this node/);
    t.ok(a.log.isHalted);
    await t.rejects(a.log.append(post("u", "too late")), { code: "unavailable" });
    t.equal(a.log.durable, 2);
  },
);
