/* Rig: what each test of faults begins and ends with. Real NATS, real nodes, a load on all of them, and somebody who watches whether
 * nodes say the truth. */

import type { Test } from "tap";

import { connect } from "../../clients/node/index.ts";
import type { ErrorCode } from "../../protocol/index.ts";
import { Cluster, type ClusterNode, type ClusterOptions } from "./broker-process.ts";
import { NatsServers } from "./nats-server.ts";
import { Truth } from "./truth.ts";
import { Workload } from "./workload.ts";

export interface Rig {
  nats: NatsServers;
  cluster: Cluster;
  load: Workload;
  truth: Truth;
}

export interface RigOptions extends Pick<ClusterOptions, "flags" | "tokenOf" | "last"> {
  /** NATS servers. @default 1 */
  servers?: 1 | 3;
  /** The address they listen on. */
  natsHost?: string;
}

/** Answers that a load gives before anything is broken, or after. */
export const someAnswers = 150;

/** Starts all, and waits until the load goes. */
export async function startRig(t: Test, options: RigOptions = {}): Promise<Rig> {
  const { servers = 1, natsHost = "127.0.0.1", flags = [], ...rest } = options;
  const nats = await NatsServers.for(t, { servers, host: natsHost });
  const replicas = ["--cluster-replicas", String(servers)];
  const cluster = await Cluster.for(t, { ...rest, nats: nats.urls, flags: [...replicas, ...flags] });
  const { tokenOf } = options;
  const load = await Workload.for(t, { urls: cluster.urls, ...(tokenOf === undefined ? {} : { tokenOf }) });
  const truth = Truth.of(t, cluster.nodes, load.told);
  await load.answers(someAnswers);
  return { nats, cluster, load, truth };
}

/** Nothing is broken any more: waits until every node says so by itself, lets the load go on for a moment, and compares all. `refused`
 *  are the nodes that could not write for a while. */
export async function checkRig(
  t: Test,
  { cluster, load, truth }: Rig,
  { refused = [] }: { refused?: readonly ClusterNode[] } = {},
): Promise<void> {
  for (const node of cluster.nodes) await node.untilReady();
  await load.answers(someAnswers);
  await truth.check(t, { refused });
  await load.check(t);
  await cluster.checkAgreement(t);
}

/** Somebody known who comes while something is broken: reads at this node, and is refused when they write. */
export async function checkReadsOnly(
  t: Test,
  node: ClusterNode,
  {
    code,
    retryable = true,
    user = "reader",
    token,
  }: { code: ErrorCode; retryable?: boolean; user?: string; token?: string },
): Promise<void> {
  t.ok(await node.isAlive(), `${node.name} is alive`);
  const who = token === undefined ? { user } : { token };
  const me = await connect(node.url, { ...who, device: "meanwhile" });
  t.teardown(() => me.close());
  const { items } = await me.read("firehose", { limit: 10 });
  t.ok(items.length > 0, `${node.name} gives pages`);
  const { value } = await me.stream("firehose", { from: items[0]!.cursor }).next();
  t.same(value, items[1], "and streams");
  await t.rejects(me.post("too early"), { code, retryable }, `and refuses a post as ${code}`);
  await me.close();
}
