/* Forget: takes a node out of the register that is gone for good, so that the cluster's level waits for it no longer. */

import type { NatsConnection } from "nats";

import { ClusterError } from "./error.ts";
import { clusterNames } from "./names.ts";
import { Register } from "./register.ts";
import { askNodes } from "./status.ts";

/** @throws ClusterError for a node that answers, and for one that is not in the register */
export async function forgetNode(connection: NatsConnection, cluster: string, node: string): Promise<void> {
  const names = clusterNames(cluster);
  const answering = (await askNodes(connection, names.status)).find((one) => one.node === node);
  if (answering !== undefined) {
    const { url, version } = answering;
    throw new ClusterError(`node ${node} answers (${url}, version ${version}): stop it first, or upgrade it`);
  }
  const register = await Register.of(connection, { bucket: names.nodes });
  if (await register.forget(node)) return;
  const known = (await register.list()).map((one) => one.node);
  throw new ClusterError(
    known.length === 0
      ? `node ${node} is not in the register of cluster ${cluster}, nor is any other`
      : `node ${node} is not in the register of cluster ${cluster}; those that are: ${known.join(", ")}`,
  );
}
