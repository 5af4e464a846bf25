/* Snapshots at work: real nodes that are wiped, away for too long, or killed while they keep. */

import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { connect as connectNats } from "nats";
import tap, { type Test } from "tap";

import { clusterNames } from "../../broker/cluster/names.ts";
import { Snapshots } from "../../broker/cluster/snapshots.ts";
import { LogStream, type StreamLook } from "../../broker/cluster/stream.ts";
import { createLogger } from "../../broker/logger.ts";
import { inspectStore } from "../../broker/state/index.ts";
import { connect } from "../../clients/node/index.ts";
import { Cluster, type ClusterNode } from "./broker-process.ts";
import { NatsServers, natsTest } from "./nats-server.ts";

const timeoutMs = 120_000;
const lookMs = 50;
/** More messages than a node asks for ahead of their use. */
const messagesAhead = 300;

interface World {
  nats: NatsServers;
  cluster: Cluster;
  nodes: readonly ClusterNode[];
  snapshots: Snapshots;
  stream: LogStream;
  /** Removes all of the log. */
  purge: () => Promise<void>;
}

async function begin(t: Test, ...flags: string[]): Promise<World> {
  const nats = await NatsServers.for(t);
  const cluster = await Cluster.for(t, { nats: nats.urls, flags });
  const connection = await connectNats({ servers: nats.urls });
  t.teardown(() => connection.close());
  const names = clusterNames("whalesong");
  const snapshots = await Snapshots.of(connection, names, { replicas: 1, logger: createLogger("silent") });
  const stream = await LogStream.of(connection, names);
  const purge = async (): Promise<void> => await stream.purge((await stream.look())!.lastSeq);
  return { nats, cluster, nodes: cluster.nodes, snapshots, stream, purge };
}

async function publish(node: ClusterNode, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await node.post(`post ${i}`);
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await sleep(lookMs);
}

async function untilLog({ stream }: World, condition: (log: StreamLook) => boolean): Promise<void> {
  await until(async () => condition((await stream.look())!));
}

function keepers(nodes: readonly ClusterNode[]): ClusterNode[] {
  return nodes.filter(({ log }) => {
    const taken = log.split("this node is the cluster's keeper").length;
    return taken > log.split("this node is no longer the cluster's keeper").length;
  });
}

await natsTest(
  tap,
  "while posts come in, two snapshots are kept, and the log that they cover goes; a wiped node has all",
  { timeoutMs },
  async (t) => {
    const world = await begin(t, "--snapshot-commands", "40", "--retain-count", "50");
    const { cluster, nodes, snapshots } = world;
    while ((await world.stream.look())!.firstSeq === 1) await publish(nodes[0]!, 10);
    await until(async () => (await snapshots.list()).length === 2);
    const [newest, older] = await snapshots.list();
    t.ok(newest!.offset - older!.offset >= 40);
    await untilLog(world, ({ firstSeq }) => firstSeq === older!.seq + 1);
    t.equal(keepers(nodes).length, 1, "one node keeps");

    const wiped = nodes[2]!;
    await wiped.kill();
    await rm(wiped.folder, { recursive: true });
    await wiped.start();
    await wiped.untilReady();
    t.match(wiped.log, /a snapshot is loaded/);
    await cluster.checkAgreement(t);
    t.ok((await inspectStore(wiped.folder))!.floor > 0, "the keeper trims for all");
  },
);

await natsTest(
  tap,
  "a node that was away for too long begins anew in the same process; its readers miss nothing and see nothing twice",
  { timeoutMs },
  async (t) => {
    const world = await begin(t, "--snapshot-commands", "30");
    const { cluster, nodes } = world;
    const [first, , away] = nodes as [ClusterNode, ClusterNode, ClusterNode];
    const { pid } = away;
    const reader = await connect(away.url.replace("http", "ws"), { user: "reader", device: "only" });
    const texts: string[] = [];
    let isLive = false;
    const reading = (async () => {
      for await (const event of reader.stream("user:marker")) {
        if (event.event === "post") texts.push(event.post.text);
        isLive ||= event.event === "live";
      }
    })();
    await until(() => isLive);
    await first.post("before");
    await until(() => texts.length === 1);

    away.pause();
    const { lastSeq } = (await world.stream.look())!;
    const sent = ["before"];
    // More than NATS may have sent it ahead.
    while ((await world.stream.look())!.firstSeq <= lastSeq + messagesAhead) {
      sent.push(`while away ${sent.length}`);
      await first.post(sent.at(-1)!);
    }
    away.resume();
    await until(() => /"msg":"a snapshot is loaded"/.test(away.log.split("begins from a snapshot")[1] ?? ""));
    await away.untilReady();
    t.equal(away.pid, pid, "the same process");
    sent.push("after");
    await first.post("after");
    await until(() => texts.at(-1) === "after");
    t.same(texts, sent);
    await reader.close();
    await reading;
    await cluster.checkAgreement(t);
  },
);

await natsTest(
  tap,
  "when the log is purged by hand the keeper makes a snapshot at once, and a wiped node begins from it",
  { timeoutMs },
  async (t) => {
    const world = await begin(t);
    const { cluster, nodes, snapshots } = world;
    await publish(nodes[1]!, 20);
    await world.purge();
    const { lastSeq } = (await world.stream.look())!;
    const wiped = nodes[2]!;
    await wiped.kill();
    await rm(wiped.folder, { recursive: true });
    await wiped.start();
    t.ok((await snapshots.list())[0]!.seq >= lastSeq);
    await wiped.untilReady();
    await cluster.checkAgreement(t);
  },
);

await natsTest(
  tap,
  "a keeper killed in the midst leaves no half snapshot; another node keeps, and cleans up",
  { timeoutMs },
  async (t) => {
    const world = await begin(t, "--snapshot-commands", "20");
    const { cluster, nodes, snapshots } = world;
    await until(() => keepers(nodes).length === 1);
    const [keeper] = keepers(nodes) as [ClusterNode];
    const others = nodes.filter((node) => node !== keeper);
    await publish(others[0]!, 25);
    await until(() => /a snapshot is due/.test(keeper.log));
    await keeper.kill();
    const before = (await snapshots.list()).map(({ seq }) => seq);
    t.ok(before.length >= 1 && before.length <= 2, "what there is is whole");
    await until(() => keepers(others).length === 1);
    while ((await snapshots.list()).some(({ seq }) => before.includes(seq))) await publish(others[0]!, 10);
    await untilLog(world, ({ firstSeq }) => firstSeq > before[0]!);
    t.equal((await snapshots.list()).length, 2);
    await keeper.start();
    await keeper.untilReady();
    await cluster.checkAgreement(t);
  },
);
