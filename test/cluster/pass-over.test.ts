/* A message of the log that no node can read, in a cluster of real nodes: all stop at it and say so, and all leave it out once an operator says so. */

import { rm } from "node:fs/promises";

import { pack } from "msgpackr";
import { type NatsConnection, connect } from "nats";
import tap, { type Test } from "tap";

import { newestStamp } from "../../broker/cluster/batch.ts";
import { clusterNames } from "../../broker/cluster/names.ts";
import { PassedOver } from "../../broker/cluster/passed-over.ts";
import { passOver } from "../../broker/cluster/pass-over.ts";
import { Register } from "../../broker/cluster/register.ts";
import { whalesong } from "../cli/whalesong.ts";
import { beginWithOldFolder } from "../old/folder.ts";
import { Cluster, type ClusterNode } from "./broker-process.ts";
import { NatsServers, natsTest } from "./nats-server.ts";
import { checkReadsOnly } from "./rig.ts";

const name = "whalesong";
const names = clusterNames(name);

async function connectTo(t: Test, nats: NatsServers): Promise<NatsConnection> {
  const connection = await connect({ servers: nats.urls });
  t.teardown(() => connection.close());
  return connection;
}

async function publish(connection: NatsConnection, bytes: Uint8Array): Promise<number> {
  return (await connection.jetstream().publish(names.log, bytes)).seq;
}

async function untilStopped(nodes: readonly ClusterNode[], seq: number): Promise<void> {
  for (const node of nodes)
    await node.untilUnready(
      new RegExp(`message ${seq} .*; to let all nodes leave it out: .* pass-over ${seq}$`),
    );
}

const batch = (commands: unknown[], stamp = newestStamp): Uint8Array =>
  pack([stamp, "stranger", 1, 1, commands]);

await natsTest(
  tap,
  "all nodes stop at what none can read, go on alike once it is left out, and so does one that begins before it",
  { timeoutMs: 240_000 },
  async (t) => {
    const nats = await NatsServers.for(t);
    const connection = await connectTo(t, nats);
    const cluster = await Cluster.for(t, { nats: nats.urls });
    const [first, second, third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    await first.post("some words", { user: "reader" });
    await first.post("more words", { user: "reader" });
    const readable = (await (await connection.jetstreamManager()).streams.info(names.stream)).state.last_seq;

    await t.rejects(passOver(connection, name, readable), {
      name: "ClusterError",
      message: /no malformed one: this version \(.*\) reads it/,
    });
    await t.rejects(passOver(connection, name, readable + 100), {
      message: /message \d+ is not in the log of cluster whalesong, which holds 1 to \d+$/,
    });
    await t.rejects(passOver(connection, "other", 1), { message: /cluster other has no log/ });

    const early = await publish(connection, new Uint8Array([0xc1]));
    await untilStopped(cluster.nodes, early);
    for (const node of cluster.nodes) t.equal(await node.metric("whalesong_cluster_halted"), 1);
    await checkReadsOnly(t, second, { code: "unavailable" });
    const said = await whalesong(["cluster", "pass-over", String(early)], {
      env: { WHALESONG_NATS: nats.urls },
    });
    t.match(said, {
      status: 0,
      stderr: "",
      stdout:
        /is left out: it is no batch of commands\nstopped at it, and going on now: node1, node2, node3\n$/,
    });
    for (const node of cluster.nodes) await node.untilReady();
    t.match(await passOver(connection, name, early), { why: /already/ }, "asked again, it is done");
    const usage = await whalesong(["cluster", "pass-over", "x"], { env: { WHALESONG_NATS: nats.urls } });
    t.match(usage, { status: 2, stderr: /a message's number: 1 or more/ });

    await third.stop();
    await rm(third.folder, { recursive: true });
    const malformed = [
      batch([{ op: "mute", user: "a", at: 1 }]),
      batch([{ op: "follow", user: "a", at: 1 }]),
      batch([{ op: "user", user: 7, at: 1 }]),
      batch([{ op: "user", user: "a", at: 1, mood: "good" }]),
    ];
    for (const bytes of malformed) {
      const seq = await publish(connection, bytes);
      await untilStopped([first, second], seq);
      t.match(await passOver(connection, name, seq), { stopped: ["node1", "node2"], tooOld: [] });
      for (const node of [first, second]) await node.untilReady();
      await second.post(`behind ${seq}`);
    }

    await third.start();
    await third.untilReady();
    t.match(third.log, /a snapshot is loaded/);
    for (const { log } of cluster.nodes) {
      const told = [...log.matchAll(/"seq":(\d+),.*that no node can read is left out/g)];
      t.equal(new Set(told.map(([, seq]) => seq)).size, 1 + malformed.length, "each node says so");
    }
    await cluster.checkAgreement(t);
  },
);

await natsTest(
  tap,
  "a batch of a level that the log does not have yet is left out; what a newer version wrote is not",
  { timeoutMs: 180_000 },
  async (t) => {
    const nats = await NatsServers.for(t);
    const connection = await connectTo(t, nats);
    const register = await Register.of(connection, { bucket: names.nodes });
    const away = { node: "away", run: "r", version: "0.1.0", oldest: 1, newest: 1 };
    await register.note(away, { replicas: 1 }); // so that the level is not raised meanwhile
    const cluster = await Cluster.for(t, {
      nats: nats.urls,
      nodes: 2,
      prepare: ([first]) => beginWithOldFolder(first!, nats.urls),
    });
    await cluster.nodes[0]!.post("at level 1");
    const early = await publish(connection, batch([{ op: "user", user: "early", at: 1 }]));
    await untilStopped(cluster.nodes, early);
    t.match(await passOver(connection, name, early), { why: "it is of level 2, and the log is at 1" });
    for (const node of cluster.nodes) await node.untilReady();
    await cluster.nodes[1]!.post("still at level 1");
    await cluster.checkAgreement(t);

    await cluster.start();
    const newer = await publish(connection, batch([], newestStamp + 1));
    for (const node of cluster.nodes)
      await node.untilUnready(/upgrade this node; it goes on where it stopped$/);
    await t.rejects(passOver(connection, name, newer), {
      message:
        /of a newer version than this one \(.*\): upgrade the nodes that are stopped at it; it is not left out/,
    });
    const behind = await publish(connection, new Uint8Array([0xc1]));
    await t.rejects(passOver(connection, name, behind), {
      message: new RegExp(
        `^no node is stopped at message ${behind} of the log \\(node1 at ${newer - 1}, node2 at`,
      ),
    });
    await cluster.stop();
    await t.rejects(passOver(connection, name, behind), { message: /\(none answers\)/ });
  },
);

await natsTest(
  tap,
  "a record is of one message of one log, whatever stands in its place later",
  { timeoutMs: 60_000 },
  async (t) => {
    const nats = await NatsServers.for(t);
    const passedOver = await PassedOver.of(await connectTo(t, nats), names);
    const message = { created: "2026-11-22T03:35:01.123456789Z", seq: 7, data: new Uint8Array([0xc1]) };
    t.equal(await passedOver.has(message), false, "there is no bucket yet");
    await passedOver.add(message, { why: "it is no batch", replicas: 1 });
    t.equal(await passedOver.has(message), true);
    t.equal(await passedOver.has({ ...message, seq: 8 }), false);
    t.equal(await passedOver.has({ ...message, created: "2026-11-22T03:35:01.123456788Z" }), false);
    t.equal(await passedOver.has({ ...message, data: new Uint8Array([0xc1, 0xc1]) }), false);
    await nats.stop();
    await nats.start();
    const again = await PassedOver.of(await connectTo(t, nats), names);
    t.equal(await again.has(message), true, "it lasts");
  },
);
