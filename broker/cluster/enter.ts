/* Enter: how a data folder becomes a node's, before its store is opened. */

import type { NatsConnection } from "nats";

import type { Logger } from "../logger.ts";
import type { BrokerOptions } from "../options.ts";
import { FolderError, State, inspectStore } from "../state/index.ts";
import type { ClusterNames } from "./names.ts";
import { LogStream } from "./stream.ts";

export interface EnterParts {
  options: BrokerOptions;
  logger: Logger;
  names: ClusterNames;
  connecting: Promise<NatsConnection>;
}

/** @throws FolderError when the folder is not the cluster's and cannot become so */
export async function enter({ options, names, connecting }: EnterParts): Promise<void> {
  const store = await inspectStore(options.data);
  if (store?.cluster !== undefined) return;
  const stream = await LogStream.of(await connecting, names);
  if ((await stream.look()) !== undefined) throw new FolderError("joining without a snapshot");
  const { created } = await stream.create({
    replicas: options.clusterReplicas,
    retainAgeMs: options.clusterRetainAgeMs,
    retainBytes: options.clusterRetainBytes,
  });
  const state = await State.open(options.data);
  await state.enterCluster({ created, seq: 0, time: 0, writers: {} });
  await state.close();
}
