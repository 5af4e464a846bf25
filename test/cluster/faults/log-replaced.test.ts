/* A log that is not the one which nodes have applied: restored from an older copy, made anew, or emptied. No node applies anything of
 * another history; those that cannot go on say so, and reading there goes on. */

import { cp, rm } from "node:fs/promises";

import { connect as connectNats } from "nats";
import tap, { type Test } from "tap";

import { type StoreDigest, digestStore } from "../../../broker/state/digest.ts";
import { Cluster, type ClusterNode, agree } from "../broker-process.ts";
import { NatsServers, natsTest } from "../nats-server.ts";
import { checkReadsOnly } from "../rig.ts";

const timeoutMs = 180_000;
const stream = "WHALESONG";
const postsBefore = 40;
const postsLost = 25;
let copies = 0;

await natsTest(
  tap,
  "an older copy of the log is restored, and then the right one",
  { timeoutMs },
  async (t) => {
    const { nats, cluster } = await start(t);
    const [first, ...others] = cluster.nodes;
    const older = await copyOf(nats, t, async () => await publish(first!, postsLost));
    await agree(cluster.nodes);
    const right = await copyOf(nats, t);

    await putInPlace(nats, older);
    for (const node of cluster.nodes) await checkRefuses(t, node);
    await putInPlace(nats, right);
    for (const node of cluster.nodes) await node.untilReady();
    for (const node of others) await publish(node, 5);
    await cluster.checkAgreement(t);
  },
);

await natsTest(
  tap,
  "a log restored from an older copy goes on without those who knew more",
  { timeoutMs },
  async (t) => {
    const { nats, cluster } = await start(t);
    const [first, second, third] = cluster.nodes;
    await third!.stop();
    const older = await copyOf(nats, t, async () => await publish(first!, postsLost));
    await agree([first!, second!]);
    const known = await digestsOf([first!, second!]);

    await putInPlace(nats, older);
    await third!.start();
    await third!.untilReady();
    // Past the place where the others are: by its length alone the log is no other now.
    await publish(third!, 2 * postsLost);
    for (const node of [first!, second!]) {
      await checkRefuses(t, node);
      await node.stop();
      await t.rejects(node.start(), /ended before it listened/, "nor does it start again");
      t.match(node.log, /restored from an older copy/, "and says why");
    }
    t.same(await digestsOf([first!, second!]), known, "nothing of the other history was applied");

    // As it says: they begin anew with what the log has.
    for (const node of [first!, second!]) {
      await rm(node.folder, { recursive: true });
      await node.start();
      await node.untilReady();
    }
    await cluster.checkAgreement(t);
  },
);

await natsTest(tap, "a log of the same name that was made anew", { timeoutMs }, async (t) => {
  const { nats, cluster } = await start(t);
  const known = await digestsOf(cluster.nodes);
  const connection = await connectNats({ servers: nats.urls });
  const manager = await connection.jetstreamManager();
  const { config } = await manager.streams.info(stream);
  await manager.streams.delete(stream);
  await manager.streams.add(config);
  for (let seq = 1; seq <= 2 * postsBefore; seq++)
    await connection.jetstream().publish("whalesong.log", "of others");
  await connection.close();
  for (const node of cluster.nodes) await checkRefuses(t, node);
  t.same(await digestsOf(cluster.nodes), known);
});

await natsTest(tap, "a log that is emptied", { timeoutMs }, async (t) => {
  const { nats, cluster } = await start(t);
  const [first, second, third] = cluster.nodes;
  await third!.stop();
  await publish(first!, postsLost);
  await agree([first!, second!]);
  const connection = await connectNats({ servers: nats.urls });
  await (await connection.jetstreamManager()).streams.purge(stream);
  await connection.close();
  await publish(second!, 5);
  await publish(first!, 5);
  // It was away, and what it missed is not in the log any more.
  await third!.start();
  await third!.untilReady();
  await cluster.checkAgreement(t);
});

async function start(t: Test): Promise<{ nats: NatsServers; cluster: Cluster }> {
  const nats = await NatsServers.for(t);
  const cluster = await Cluster.for(t, { nats: nats.urls });
  await publish(cluster.nodes[0]!, postsBefore);
  await agree(cluster.nodes);
  return { nats, cluster };
}

async function publish(node: ClusterNode, count: number): Promise<void> {
  await node.untilReady();
  for (let number = 1; number <= count; number++) await node.post(`${number} at ${node.name}`);
}

/** Copies all that NATS has stored, while it is stopped; then lets `more` happen. */
async function copyOf(nats: NatsServers, t: Test, more?: () => Promise<void>): Promise<string> {
  const [server] = nats.servers;
  const copy = `${server!.store}-copy-${++copies}`;
  t.teardown(() => rm(copy, { recursive: true, force: true }));
  await nats.stop();
  await cp(server!.store, copy, { recursive: true });
  await nats.start();
  await more?.();
  return copy;
}

async function putInPlace(nats: NatsServers, copy: string): Promise<void> {
  const [server] = nats.servers;
  await nats.stop();
  await rm(server!.store, { recursive: true });
  await cp(copy, server!.store, { recursive: true });
  await nats.start();
}

/** It says that this is another log, refuses writes for good, and reads. */
async function checkRefuses(t: Test, node: ClusterNode): Promise<void> {
  t.match(await node.untilUnready(/not the one/), /restore the log/, `${node.name} says what to do`);
  await checkReadsOnly(t, node, { code: "epoch_mismatch", retryable: false, user: "marker" });
}

async function digestsOf(nodes: readonly ClusterNode[]): Promise<(StoreDigest | undefined)[]> {
  return await Promise.all(nodes.map(({ folder }) => digestStore(folder)));
}
